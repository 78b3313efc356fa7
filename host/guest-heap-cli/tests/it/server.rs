//! `guest-heap serve` as a process, and a client for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::thread::JoinHandle;

use crate::program::{Program, Ran};

/// A server on addresses of its own. It is killed when the test is over.
pub(crate) struct Server {
    _program: Program,
    child: Child,
    stderr: Option<JoinHandle<String>>,
    pub(crate) service: String,
    pub(crate) admin: String,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Server {
    pub(crate) fn start(component: &str, options: &[&str]) -> Self {
        Self::of(Program::on(component), options)
    }

    pub(crate) fn of(program: Program, options: &[&str]) -> Self {
        let addresses = ["--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"];
        let mut child = program
            .command("serve", &[&addresses, options].concat())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut address = |prefix: &str| loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended early");
            if line.starts_with(prefix) {
                let (_, url) = line.split_once("http://").unwrap();
                break url.trim_end().trim_end_matches('/').to_owned();
            }
        };
        let service = address("serving wasi:http");
        let admin = address("heap profile on ");
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            _program: program,
            child,
            stderr: Some(stderr),
            service,
            admin,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send(&self.service, "GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        send(&self.service, "POST", path, body)
    }

    pub(crate) fn admin(&self, path: &str) -> Answer {
        send(&self.admin, "GET", path, "")
    }

    /// The JSON of `/debug/requests`.
    pub(crate) fn requests(&self) -> serde_json::Value {
        let answer = self.admin("/debug/requests?format=json");
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Sends a signal and waits for the end.
    #[cfg(unix)]
    pub(crate) fn stop(mut self, signal: rustix::process::Signal) -> Ran {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        let code = self.child.wait().unwrap().code();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        Ran {
            stdout: String::new(),
            stderr,
            code,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends a request and returns its connection.
pub(crate) fn open(address: &str, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn send(address: &str, method: &str, path: &str, body: &str) -> Answer {
    receive(open(address, method, path, body))
}

/// Reads an answer to its end.
pub(crate) fn receive(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        body: bytes.split_off(end + 4),
    }
}
