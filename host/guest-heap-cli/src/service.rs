//! Components that answer HTTP requests: `wasi:http` 0.2 (`proxy`) and 0.3 (`service`).

use std::future::{pending, poll_fn};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_channel::oneshot;
use http_body_util::BodyExt;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{AsContextMut, Engine, Store};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{Prepared, Proxy, ProxyPre, Request, Response};
use wasmtime_wasi_http::{p2, p3};

use crate::engine::engine_error;
use crate::guest::Guest;
use crate::host_state::HostState;

/// The interface that a service exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// `wasi:http/incoming-handler` of WASI 0.2. An instance handles one request at a time.
    IncomingHandler,
    /// `wasi:http/handler` of WASI 0.3. An instance handles many requests at a time.
    Handler,
}

impl Interface {
    /// The interface that a component exports.
    ///
    /// # Errors
    /// When it exports none that is known. The error lists the exports.
    pub(crate) fn of(component: &Component, engine: &Engine) -> Result<Self> {
        let ty = component.component_type();
        let names: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
        let exports = |prefix| names.iter().any(|name| name.starts_with(prefix));
        if exports("wasi:http/handler@0.3.") {
            return Ok(Self::Handler);
        }
        if exports("wasi:http/incoming-handler@0.2.") {
            return Ok(Self::IncomingHandler);
        }
        bail!(
            "the component is no HTTP service: it exports neither wasi:http/incoming-handler@0.2 \
             nor wasi:http/handler@0.3. It exports:\n  {}",
            names.join("\n  ")
        )
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::IncomingHandler => "wasi:http 0.2",
            Self::Handler => "wasi:http 0.3",
        }
    }

    /// A service that can be instantiated many times.
    ///
    /// # Errors
    /// When the component's interface is another version than its name says.
    pub(crate) fn prepare(self, pre: InstancePre<HostState>) -> Result<ProxyPre<HostState>> {
        let pre = match self {
            Self::IncomingHandler => p2::bindings::ProxyPre::new(pre).map(ProxyPre::P2),
            Self::Handler => p3::bindings::ServicePre::new(pre).map(ProxyPre::P3),
        };
        pre.map_err(engine_error)
    }

    /// The service of an instance.
    ///
    /// # Errors
    /// When the instance does not export this interface.
    pub(crate) fn proxy(self, guest: &mut Guest) -> Result<Proxy> {
        let (store, instance) = (&mut guest.store, &guest.instance);
        let proxy = match self {
            Self::IncomingHandler => p2::bindings::Proxy::new(store, instance).map(Proxy::P2),
            Self::Handler => p3::bindings::Service::new(store, instance).map(Proxy::P3),
        };
        proxy.map_err(engine_error)
    }
}

/// A guest's answer that was received in full.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
}

/// Sends one request to an instance, and waits until the guest has done everything for it.
///
/// # Errors
/// When the guest traps or gives no answer.
pub(crate) async fn call(
    store: &mut Store<HostState>,
    proxy: &Proxy,
    request: http::Request<Bytes>,
) -> Result<Answer> {
    let request: Request = request.map(|body| {
        http_body_util::Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync()
    });
    let (answer, answered) = oneshot::channel::<wasmtime::Result<Response>>();
    // It needs a task of its own: while a guest of WASI 0.2 writes its answer, it holds the store.
    let receive = tokio::spawn(async {
        let response = answered.await.context("the guest gave no answer")?;
        let response = response.map_err(engine_error)?;
        let status = response.status();
        let body = response.into_body().collect().await;
        body.map_err(|error| anyhow::anyhow!("the answer ended early: {error}"))?;
        anyhow::Ok(Answer { status })
    });
    let done = store
        .run_concurrent(async |accessor| {
            let prepared = accessor.with(|mut store| {
                Prepared::new(
                    store.as_context_mut(),
                    proxy,
                    request,
                    HostState::http,
                    answer,
                )
            });
            let prepared = prepared.map_err(engine_error)?;
            prepared
                .run(accessor, pending())
                .await
                .map_err(engine_error)?;
            // The guest writes the rest of its answer after it has returned.
            poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
            anyhow::Ok(())
        })
        .await;
    done.map_err(engine_error)??;
    receive.await?
}
