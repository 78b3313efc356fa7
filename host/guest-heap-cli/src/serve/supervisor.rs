//! Starts the instances, one after another or one for each request, and reads their heaps at their
//! end.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::serve::instance::Instance;
use crate::serve::job::{Job, Source};
use crate::serve::server::{MAX_CONCURRENCY, Server};
use crate::serve::tally::Ended;
use crate::trap::GuestError;

impl Server {
    /// Handles the requests of the queue until the server stops. Returns when all instances have
    /// ended.
    pub(super) async fn run(self: Arc<Self>, first: Instance, mut queue: mpsc::Receiver<Job>) {
        if self.instance_per_request {
            self.run_instance_per_request(queue).await;
            return;
        }
        let mut instance = Some(first);
        while !*self.stop.borrow() {
            let next = match instance.take() {
                Some(instance) => Ok(instance),
                None => Instance::start(&self).await,
            };
            match next {
                Ok(mut live) => {
                    let number = self.tally.begin_instance();
                    let ended = live.run(&self, &mut Source::Queue(&mut queue)).await;
                    self.end(number, self.tally.requests(), &ended, &live);
                }
                Err(error) => {
                    // The next request tries again.
                    let Some(job) = queue.recv().await else {
                        return;
                    };
                    let error = format!("the component cannot be started again: {error:#}");
                    stderr_line!("{error}");
                    // The client may have left.
                    job.answer.send(Err(wasmtime::Error::msg(error))).ok();
                }
            }
        }
    }

    async fn run_instance_per_request(self: Arc<Self>, mut queue: mpsc::Receiver<Job>) {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENCY));
        let mut stop = self.stop.subscribe();
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            let job = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                job = queue.recv() => job,
            };
            let Some(job) = job else {
                break;
            };
            let server = self.clone();
            tokio::spawn(async move {
                server.run_one(job).await;
                drop(permit);
            });
        }
        // All permits are back when all instances have ended.
        permits.acquire_many(MAX_CONCURRENCY as u32).await.ok();
    }

    async fn run_one(self: &Arc<Self>, job: Job) {
        match Instance::start(self).await {
            Ok(mut instance) => {
                let number = self.tally.begin_instance();
                let mut source = Source::One(Some(Box::new(job)));
                let ended = instance.run(self, &mut source).await;
                self.end(number, 1, &ended, &instance);
            }
            Err(error) => {
                let error = format!("the component cannot be started: {error:#}");
                // The client may have left.
                job.answer.send(Err(wasmtime::Error::msg(error))).ok();
            }
        }
    }

    fn end(self: &Arc<Self>, number: u64, requests: u64, ended: &Ended, instance: &Instance) {
        let (heap, denied) = (instance.heap(), instance.denied());
        let message = self
            .tally
            .end_instance(number, requests, ended, heap, denied);
        if ended.is_failure() {
            stderr_line!("{message}");
        }
        if let Ended::Trapped(error) = ended {
            self.print_trap(GuestError::of(error, &self.loaded.meta));
        }
    }
}
