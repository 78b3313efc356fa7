//! `guest-heap serve`: an HTTP service in one instance, and what its requests leave behind.
//!
//! The parts, in the order of a request:
//!
//! - `listener` accepts connections and puts each request into a queue of bounded length.
//! - `supervisor` keeps an instance running.
//! - `instance` takes requests from the queue and calls the guest, in an event loop that owns the
//!   store. `watch` notices a guest that does not come back.
//! - `tally` counts what the requests leave behind (`retention`), keeps heaps to compare with, and
//!   keeps the heap of an instance that has ended.
//! - `admin` shows the heap to profilers and people. It asks the event loop for it
//!   (`heap_requests`).

mod admin;
mod growth;
mod heap_requests;
mod instance;
mod job;
mod listener;
mod retention;
mod server;
mod supervisor;
mod tally;
mod watch;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use guest_heap::grouped;
use guest_heap_inspector::Inspector;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::arguments::ServeArguments;
use crate::engine::engine;
use crate::growth_reports::GrowthReports;
use crate::guest::start_clock;
use crate::load::{Profile, load};
use crate::output;
use crate::report;
use crate::serve::instance::Instance;
use crate::serve::server::Server;
use crate::signals::stopped;

/// Serves a component until Ctrl-C or SIGTERM, and reports its heap.
///
/// # Errors
/// When the component cannot be loaded or started, an address is taken, or a file cannot be
/// written.
pub(crate) async fn run(arguments: ServeArguments) -> Result<ExitCode> {
    output::check(&arguments.report.output)?;
    let engine = engine()?;
    let profile = match arguments.no_profile {
        true => Profile::Off,
        false => Profile::Heap,
    };
    let loaded = load(&engine, &arguments.component, profile)?;
    if let Some(why) = loaded.off() {
        stderr_line!("warning: the heap is not attributed: {why}");
    }
    let listener = bind("--addr", &arguments.addr).await?;
    let address = listener.local_addr()?;
    let admin = bind_admin(&arguments, address).await?;
    let server = Arc::new(Server::new(&engine, loaded, arguments)?);
    start_clock(&engine)?;
    let first = Instance::start(&server).await?;
    let stopped = stopped();
    stderr_line!("serving {} on http://{address}/", server.interface.name());
    stderr_line!("heap profile on http://{}/", admin.local_addr()?);

    let (jobs, queue) = mpsc::channel(server.arguments.max_queued as usize);
    tokio::spawn(listener::accept(server.clone(), listener, jobs));
    let inspector = admin::inspector(server.clone());
    tokio::spawn(admin::serve(server.clone(), inspector.clone(), admin));
    if let Some(interval) = server.arguments.report.every {
        tokio::spawn(report_growth(server.clone(), interval));
    }
    let running = tokio::spawn(server.clone().run(first, queue));
    stopped.await?;
    server.stop.send_replace(true);
    running.await.context("the server has failed")?;
    report(&server, &inspector).await?;
    Ok(ExitCode::SUCCESS)
}

async fn bind(option: &str, address: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {option} {address}"))
}

/// Binds the address of the heap profile. Without `--admin-addr`, only this machine reaches it.
async fn bind_admin(arguments: &ServeArguments, service: SocketAddr) -> Result<TcpListener> {
    if let Some(address) = &arguments.admin_addr {
        return bind("--admin-addr", address).await;
    }
    let next = service.port().checked_add(1).unwrap_or(0);
    match TcpListener::bind((Ipv4Addr::LOCALHOST, next)).await {
        Ok(listener) => Ok(listener),
        Err(_taken) => bind("--admin-addr", "127.0.0.1:0").await,
    }
}

async fn report_growth(server: Arc<Server>, interval: Duration) {
    let mut growth = GrowthReports::new(interval);
    loop {
        tokio::time::sleep(interval).await;
        match server.snapshot().await {
            Ok((_, heap)) => growth.print(&heap),
            Err(error) => stderr_line!("{error:#}"),
        }
    }
}

/// Prints the heap of the last instance, and what the requests have left behind.
async fn report(server: &Server, inspector: &Inspector) -> Result<()> {
    let arguments = &server.arguments.report;
    let summary = server.tally.summary();
    if let Some(failed) = &summary.last_failed {
        let heap = server.symbolize(&failed.heap).await?;
        stderr_line!(
            "heap of the last instance that failed, after {} requests:",
            grouped(failed.requests)
        );
        stderr_text!(
            "{}",
            report::of_heap(&heap, arguments.by.into(), arguments.top)
        );
    }
    let Some(last) = &summary.last_ended else {
        stderr_line!("no request was handled");
        return Ok(());
    };
    let heap = server.symbolize(&last.heap).await?;
    stderr_line!("{}", summary.instances(server.instance_per_request));
    if let Some(verdict) = admin::verdict(server, inspector) {
        stderr_line!("verdict: {verdict}");
    }
    stderr_text!(
        "{}",
        report::of_heap(&heap, arguments.by.into(), arguments.top)
    );
    if let Some(growth) = server.growth(&summary, last, &heap).await? {
        stderr_text!("{}", growth.text(arguments.top));
    }
    stderr_text!(
        "{}",
        growth::of_paths(&summary.paths, arguments.top, heap.measures_blocks())
    );
    output::write_all(&arguments.output, &heap)?;
    Ok(())
}
