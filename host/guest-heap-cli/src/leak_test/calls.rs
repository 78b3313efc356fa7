//! The calls of a round: exports, and HTTP requests.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};
use guest_heap::snapshot::GroupBy;
use http::StatusCode;
use wasmtime_wasi_http::handler::Proxy;

use crate::arguments::TestArguments;
use crate::guest::Guest;
use crate::invocation::Invocation;
use crate::leak_test::http_request::HttpRequest;
use crate::report;
use crate::service::{Interface, call};

/// Lines of the heap at a trap.
const TOP: usize = 10;

/// The calls of a round.
pub(super) struct Calls {
    invocations: Vec<Invocation>,
    http: Vec<HttpRequest>,
    /// The service that the requests go to. There is one if there are requests.
    proxy: Option<Proxy>,
    /// Answers that were no success, by request and status.
    failures: BTreeMap<(String, StatusCode), u64>,
}

impl Calls {
    /// Finds what the command line wants to call.
    ///
    /// # Errors
    /// When there is no such export, an argument or a request is not valid, or a file cannot be
    /// read.
    pub(super) fn resolve(arguments: &TestArguments, guest: &mut Guest) -> Result<Self> {
        let mut invocations = Vec::new();
        for text in &arguments.invoke {
            invocations.push(Invocation::resolve(
                text,
                &guest.loaded.component,
                &guest.instance,
                &mut guest.store,
            )?);
        }
        let mut http = Vec::new();
        for text in &arguments.http {
            http.push(HttpRequest::parse(text).context("--http")?);
        }
        for file in &arguments.http_file {
            let name = || format!("--http-file {}", file.display());
            let text = fs::read_to_string(file).with_context(name)?;
            http.extend(HttpRequest::parse_file(&text).with_context(name)?);
        }
        let proxy = match http.is_empty() {
            true => None,
            false => {
                let interface = Interface::of(&guest.loaded.component, guest.store.engine())?;
                Some(interface.proxy(guest)?)
            }
        };
        Ok(Self {
            invocations,
            http,
            proxy,
            failures: BTreeMap::new(),
        })
    }

    /// Makes each call once.
    ///
    /// # Errors
    /// When the guest traps or does not answer a request.
    pub(super) async fn round(&mut self, guest: &mut Guest) -> Result<()> {
        for invocation in &self.invocations {
            if let Err(error) = invocation.call(&mut guest.store).await {
                return trapped(&invocation.text, &crate::engine::engine_error(error), guest);
            }
        }
        for request in &self.http {
            let Some(proxy) = &self.proxy else {
                break;
            };
            match call(&mut guest.store, proxy, request.request()).await {
                Ok(answer)
                    if answer.status.is_client_error() || answer.status.is_server_error() =>
                {
                    let failure = (request.text.clone(), answer.status);
                    *self.failures.entry(failure).or_default() += 1;
                }
                Ok(_) => {}
                Err(error) => return trapped(&request.text, &error, guest),
            }
        }
        Ok(())
    }

    /// The calls as the user wrote them.
    pub(super) fn texts(&self) -> Vec<String> {
        let invocations = self.invocations.iter().map(|call| call.text.clone());
        let requests = self.http.iter().map(|request| request.text.clone());
        invocations.chain(requests).collect()
    }

    /// The requests that were not answered with a success, as sentences.
    pub(super) fn failures(&self) -> Vec<String> {
        let failures = self.failures.iter();
        failures
            .map(|((request, status), count)| {
                format!("{request} was answered {count} times with {status}")
            })
            .collect()
    }
}

fn trapped(call: &str, error: &anyhow::Error, guest: &Guest) -> Result<()> {
    bail!(
        "`{call}` has trapped: {error:#}\n\nthe heap at the trap:\n{}",
        report::of_heap(&guest.heap(), GroupBy::Line, TOP)
    )
}
