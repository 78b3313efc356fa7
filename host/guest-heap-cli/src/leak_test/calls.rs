//! The calls of a round: exports, and HTTP requests.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use guest_heap::snapshot::GroupBy;
use http::StatusCode;
use wasmtime_wasi_http::handler::Proxy;

use crate::arguments::TestArguments;
use crate::bounded_file;
use crate::engine::engine_error;
use crate::guest::Guest;
use crate::invocation::Invocation;
use crate::leak_test::http_request::HttpRequest;
use crate::report;
use crate::sample_call::sample_calls;
use crate::service::{Interface, call};
use crate::trap::GuestError;

/// Said of a service that answers its first request only.
const ONE_REQUEST: &str = "the instance has answered its first request and none after it: if the \
    component is made for one request per instance, as one that listens to `fetch` events is, it \
    cannot be tested; let it export `incomingHandler` instead";

/// The size of the largest file of requests.
const MAX_REQUESTS_BYTES: u64 = 64 << 20;

/// Lines of the heap at a trap.
const TOP: usize = 10;

/// The calls of a round.
pub(super) struct Calls {
    invocations: Vec<Invocation>,
    http: Vec<HttpRequest>,
    /// The service that the requests go to. There is one if there are requests.
    proxy: Option<Proxy>,
    /// Requests that were answered.
    answered: u64,
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
        if arguments.invoke.is_empty()
            && arguments.http.is_empty()
            && arguments.http_file.is_empty()
        {
            return Err(nothing_to_call(guest));
        }
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
            let text = bounded_file::read(file, MAX_REQUESTS_BYTES).with_context(name)?;
            let text = String::from_utf8(text).with_context(name)?;
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
            answered: 0,
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
                return failed(&invocation.text, &engine_error(error), guest);
            }
        }
        for request in &self.http {
            let Some(proxy) = &self.proxy else {
                break;
            };
            match call(&mut guest.store, proxy, request.request()).await {
                Ok(answer) => {
                    self.answered += 1;
                    if answer.status.is_client_error() || answer.status.is_server_error() {
                        let failure = (request.text.clone(), answer.status);
                        *self.failures.entry(failure).or_default() += 1;
                    }
                }
                Err(error) if self.answered == 1 => {
                    return failed(&request.text, &error, guest).context(ONE_REQUEST);
                }
                Err(error) => return failed(&request.text, &error, guest),
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

fn failed(call: &str, error: &anyhow::Error, guest: &Guest) -> Result<()> {
    let error = GuestError::of(error, &guest.loaded.meta);
    let what = match error.is_trap() {
        true => "has trapped",
        false => "has failed",
    };
    bail!(
        "`{call}` {what}: {}\nthe heap at that time:\n{}",
        error.describe(&guest.loaded.symbols),
        report::of_heap(&guest.heap(), GroupBy::Line, TOP)
    )
}

/// Why nothing is called, and what can be called.
fn nothing_to_call(guest: &Guest) -> anyhow::Error {
    let (component, engine) = (&guest.loaded.component, guest.store.engine());
    if Interface::of(component, engine).is_ok() {
        return anyhow::anyhow!(
            "nothing is called. The component is an HTTP service: say with --http what to request, \
             for example\n  --http 'GET /'"
        );
    }
    let calls = sample_calls(component, engine);
    if calls.is_empty() {
        return anyhow::anyhow!(
            "nothing is called, and the component exports no function that could be"
        );
    }
    let calls: Vec<String> = calls
        .iter()
        .map(|call| format!("  --invoke {}", quoted(call)))
        .collect();
    anyhow::anyhow!(
        "nothing is called. Say with --invoke what to call, with arguments of your own:\n{}",
        calls.join("\n")
    )
}

/// A text in quotes for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
