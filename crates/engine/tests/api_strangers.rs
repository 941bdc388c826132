//! Connections that show no key. Alone in its process: they share one table.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use support::Served;

fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_show_no_key_the_oldest_go_and_who_has_it_is_served() {
    let served = Served::start_without_faults().await;
    let id = served.create(json!({})).await;
    let address = served.url.strip_prefix("http://").unwrap().to_owned();
    let mut strangers: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let open: Vec<bool> = strangers.iter_mut().map(is_open).collect();
    assert_eq!(open.iter().filter(|open| **open).count(), 128);
    assert!(!open[0] && open[199]);
    // Connections with the key, more than strangers may have, are left alone.
    let line = format!(
        "GET /v1/machines/{id} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\r\n",
        support::KEY
    );
    let mut known: Vec<TcpStream> = (0..150)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
            stream
        })
        .collect();
    drop(strangers);
    assert!(known.iter_mut().all(is_open));
    assert_eq!(served.shell(&id, "echo fine").await["stdout"], "fine\n");
    drop(known);
    served.stop().await;
}
