use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use envoy_types::pb::envoy::{
    config::core::v3::{Address, SocketAddress, address},
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::{
        accesslog::v3::{StreamAccessLogsMessage, access_log_service_client::AccessLogServiceClient},
        auth::v3::{
            AttributeContext, CheckRequest, CheckResponse,
            attribute_context::{HttpRequest, Peer, Request},
            authorization_client::AuthorizationClient,
            check_response::HttpResponse,
        },
        ratelimit::v3::{
            RateLimitRequest, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
        },
    },
};
use tokio::sync::mpsc;
use tonic::{
    Status,
    codegen::tokio_stream::wrappers::ReceiverStream,
    transport::{Channel, Endpoint},
};
use weir_tests::{
    agent::{Agent, binary},
    namespace::{Namespace, Pair},
    patience,
};

use crate::stand::{Inside, may_have_files};

const ADDRESS: &str = "127.0.0.1:9654";
/// Questions a second, and for how long.
const RATE: u32 = 10_000;
const SECONDS: u32 = 3;

fn started(pair: &Pair) -> Agent {
    let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    let config = format!(
        "enforce: enforce\ninterfaces: [{{name: {}}}]\nlisten: {{metrics: {}}}\n\
         l7: {{listen: {{grpc: ['{ADDRESS}', 'unix:{}']}}}}\n",
        Pair::INTERFACE,
        Agent::METRICS,
        agent.directory().join("l7.sock").display(),
    );
    agent.configure(&config).unwrap();
    agent.start().unwrap();
    agent
}

async fn channel() -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{ADDRESS}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn question(source: &str, path: &str) -> CheckRequest {
    let socket = SocketAddress { address: source.to_owned(), ..SocketAddress::default() };
    let address = Some(Address { address: Some(address::Address::SocketAddress(socket)) });
    let http = HttpRequest {
        method: "GET".to_owned(),
        host: "api.example.org".to_owned(),
        path: path.to_owned(),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer { address, ..Peer::default() }),
            request: Some(Request { time: None, http: Some(http) }),
            ..AttributeContext::default()
        }),
    }
}

async fn check(channel: &Channel, source: &str, path: &str) -> Result<CheckResponse, Status> {
    let mut client = AuthorizationClient::new(channel.clone());
    client.check(question(source, path)).await.map(tonic::Response::into_inner)
}

fn passes(answer: &CheckResponse) -> bool {
    matches!(answer.http_response, Some(HttpResponse::OkResponse(_)))
}

#[test]
fn each_descriptor_is_answered() {
    let pair = Pair::new().unwrap();
    let _agent = started(&pair);
    Inside::new(&pair.server).run(async {
        let descriptor = |key: &str| RateLimitDescriptor {
            entries: vec![Entry { key: key.to_owned(), value: "a".to_owned() }],
            ..RateLimitDescriptor::default()
        };
        let request = RateLimitRequest {
            domain: "nobody".to_owned(),
            descriptors: vec![descriptor("one"), descriptor("two")],
            hits_addend: 0,
        };
        let mut client = RateLimitServiceClient::new(channel().await);
        let answer = client.should_rate_limit(request).await.unwrap().into_inner();
        assert_eq!(answer.overall_code(), Code::Ok);
        assert_eq!(answer.statuses.len(), 2);
    });
}

/// Whatever comes, questions that are in order are answered beside it and after it.
#[test]
fn garbage_is_refused() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair);
    let inside = Inside::new(&pair.server);
    let channel = inside.run(channel());
    let long = vec![b'a'; 200_000];
    let garbage: [&[u8]; 5] = [
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xff\xff\x04\0\0\0\0\0",
        // A frame of headers that is no HPACK.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\x01\x04\0\0\0\x01\xff\xff\xff\xff",
        &long,
    ];
    for bytes in garbage {
        let mut stream = connect(&pair.server);
        // It may be closed before all is written, or read.
        _ = stream.write_all(bytes);
        let end = stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(matches!(end, Ok(_) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    }
    inside.run(async {
        // Too long for us, and nonsense: an error, and the connection stays.
        let error = check(&channel, "192.0.2.1", &"a".repeat(300_000)).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::OutOfRange, "{error}");
        for source in ["", "nonsense", "/run/socket", "192.0.2.1"] {
            assert!(passes(&check(&channel, source, "/").await.unwrap()), "{source}");
        }
    });
    assert!(agent.weir(&["ban", "192.0.2.66"]).unwrap().status.success());
    inside.run(async {
        assert!(!passes(&check(&channel, "192.0.2.66", "/").await.unwrap()));
    });
}

fn connect(namespace: &Namespace) -> TcpStream {
    let address: SocketAddr = ADDRESS.parse().unwrap();
    let stream = namespace.run(|| Ok(TcpStream::connect(address)?)).unwrap();
    stream.set_read_timeout(Some(patience::seconds(10))).unwrap();
    stream
}

/// Thousands connect and say nothing: those that are there already are served, others come in as the
/// silent ones lose their places, and the agent has files left for all else.
#[test]
fn silence_does_not_keep_others_out() {
    let pair = Pair::new().unwrap();
    // As the agent is started everywhere: it has to see to more itself.
    may_have_files(Some(1024));
    let agent = started(&pair);
    may_have_files(None);
    let inside = Inside::new(&pair.server);
    let before = inside.run(channel());
    let held = inside.crowd(ADDRESS);
    inside.run(async {
        assert!(passes(&check(&before, "192.0.2.1", "/").await.unwrap()));
    });
    assert!(agent.weir(&["ban", "192.0.2.66"]).unwrap().status.success());
    assert!(agent.get("/metrics").is_ok());
    let started = Instant::now();
    inside.run(async {
        let after = channel().await;
        assert!(!passes(&check(&after, "192.0.2.66", "/").await.unwrap()));
        println!("in after {:?}, behind {}", started.elapsed(), held.lock().await.len());
    });
    assert!(started.elapsed() < patience::seconds(60), "{:?}", started.elapsed());
}

/// A stream of logs never ends by itself, nor does a connection; a stop ends both.
#[test]
fn a_stop_waits_for_nobody() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair);
    let inside = Inside::new(&pair.server);
    let (sender, messages) = mpsc::channel(1);
    let mut client = AccessLogServiceClient::new(inside.run(channel()));
    let stream =
        inside.runtime.spawn(async move { client.stream_access_logs(ReceiverStream::new(messages)).await });
    inside.run(sender.send(StreamAccessLogsMessage::default())).unwrap();
    // That it has arrived.
    thread::sleep(Duration::from_millis(200));
    let _silent = connect(&pair.server);
    let started = Instant::now();
    assert!(agent.stop().unwrap().success());
    assert!(started.elapsed() < patience::seconds(4), "{:?}", started.elapsed());
    inside.run(stream).unwrap().unwrap();
}

/// How long Envoy would wait, from the time at which a question is due: what it would have to wait for a
/// place is part of it. `cargo xtask bench` has the figures of a release build.
#[test]
#[ignore = "a measurement, not a test"]
fn how_long_a_question_waits() {
    let pair = Pair::new().unwrap();
    let _agent = started(&pair);
    let inside = Inside::new(&pair.server);
    let channel = inside.run(channel());
    let (sender, mut answered) = mpsc::unbounded_channel();
    let start = Instant::now() + Duration::from_millis(50);
    for number in 0..RATE * SECONDS {
        let due = start + Duration::from_secs(1) / RATE * number;
        // Not the runtime's timer, which has whole milliseconds.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (channel, sender) = (channel.clone(), sender.clone());
        inside.runtime.spawn(async move {
            check(&channel, "192.0.2.1", "/items?page=2").await.unwrap();
            sender.send(due.elapsed()).unwrap();
        });
    }
    drop(sender);
    let mut waits = Vec::new();
    while let Some(wait) = answered.blocking_recv() {
        waits.push(wait);
    }
    waits.sort_unstable();
    let at = |thousandths: usize| waits[(waits.len() - 1) * thousandths / 1000];
    println!("{RATE}/s: p50 {:?}, p99 {:?}, p99.9 {:?}, worst {:?}", at(500), at(990), at(999), at(1000));
}
