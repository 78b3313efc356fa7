//! Where the addresses of the hosts come from.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::address::{AddressError, HostAddress};

/// The most hosts of one fleet.
pub const MAX_HOSTS: usize = 10_000;

/// The largest file of addresses, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Time limit of a DNS query.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Every address of a DNS name, such as that of a headless service.
    Service(HostAddress),
    /// These addresses.
    Hosts(Vec<HostAddress>),
    /// A file with one address in each line. Empty lines and lines that begin with `#` count for
    /// nothing.
    File(PathBuf),
}

/// Why there are no addresses.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// DNS did not answer.
    #[error("the DNS name {name} gives no address: {reason}; is the service running?")]
    Dns {
        /// The name.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot read the addresses in {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// A line of the file is no address.
    #[error("line {line} of {path}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: AddressError,
    },
    /// There are none.
    #[error("{0} names no host: give at least one address")]
    Empty(String),
    /// There are too many.
    #[error("there are {0} hosts, and a fleet has at most {MAX_HOSTS}")]
    TooMany(usize),
}

impl Source {
    /// The addresses now, in order, each once. Of a name that has both IPv4 and IPv6 addresses,
    /// those of IPv4 count, because they belong to the same hosts.
    ///
    /// # Errors
    ///
    /// A [`SourceError`].
    pub async fn addresses(&self) -> Result<Vec<HostAddress>, SourceError> {
        let (mut addresses, origin) = match self {
            Source::Service(service) => (resolve(service).await?, service.to_string()),
            Source::Hosts(hosts) => (hosts.clone(), "the list of hosts".to_owned()),
            Source::File(path) => (read(path)?, path.display().to_string()),
        };
        addresses.sort();
        addresses.dedup();
        match addresses.len() {
            0 => Err(SourceError::Empty(origin)),
            count if count > MAX_HOSTS => Err(SourceError::TooMany(count)),
            _ => Ok(addresses),
        }
    }
}

async fn resolve(service: &HostAddress) -> Result<Vec<HostAddress>, SourceError> {
    let failed = |reason: String| SourceError::Dns {
        name: service.name(),
        reason,
    };
    let lookup = lookup_host((service.name(), service.port()));
    let found = match timeout(DNS_TIMEOUT, lookup).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("no answer within {DNS_TIMEOUT:?}"))),
    };
    let all: Vec<HostAddress> = found
        .map(|address| HostAddress::of(address.ip(), address.port()))
        .collect();
    let v4 = all.iter().filter(|address| address.is_ipv4()).cloned();
    let v4: Vec<HostAddress> = v4.collect();
    Ok(if v4.is_empty() { all } else { v4 })
}

fn read(path: &Path) -> Result<Vec<HostAddress>, SourceError> {
    let failed = |reason: io::Error| SourceError::File {
        path: path.to_owned(),
        reason,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    if read.map_err(failed)? as u64 > MAX_FILE_BYTES {
        let reason = io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes"));
        return Err(failed(reason));
    }
    let mut addresses = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let address = line.parse().map_err(|reason| SourceError::Line {
            path: path.to_owned(),
            line: index + 1,
            reason,
        })?;
        addresses.push(address);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn found(source: &Source) -> Result<Vec<String>, String> {
        let addresses = source.addresses().await.map_err(|e| e.to_string())?;
        Ok(addresses.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn a_name_gives_each_of_its_addresses_once() {
        let local = Source::Service("localhost:9000".parse().unwrap());
        assert_eq!(found(&local).await.unwrap(), ["127.0.0.1:9000"]);
        let missing = Source::Service("no-such-name.invalid".parse().unwrap());
        let error = found(&missing).await.unwrap_err();
        assert!(error.contains("is the service running?"), "{error}");
    }

    #[tokio::test]
    async fn a_file_has_one_address_in_each_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let source = Source::File(path.clone());
        let error = found(&source).await.unwrap_err();
        assert!(error.contains("cannot read"), "{error}");
        fs::write(
            &path,
            "# the lab\n10.0.0.2\n\n 10.0.0.1:81\r\n10.0.0.2:8080\n",
        )
        .unwrap();
        let expected = ["10.0.0.1:81", "10.0.0.2:8080"];
        assert_eq!(found(&source).await.unwrap(), expected);
        fs::write(&path, "10.0.0.2\nnot an address\n").unwrap();
        let error = found(&source).await.unwrap_err();
        assert!(
            error.contains("line 2 of ") && error.contains("NAME:PORT"),
            "{error}"
        );
        for (text, expected) in [
            ("# nothing\n".to_owned(), "names no host"),
            ("x".repeat(1 << 21), "more than 1048576 bytes"),
            (
                (0..=MAX_HOSTS).map(|n| format!("h{n}\n")).collect(),
                "at most 10000",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = found(&source).await.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(found(&source).await.unwrap_err().contains("cannot read"));
    }
}
