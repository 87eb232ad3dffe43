use std::{
    fs,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;
use weir::{
    config::{Auth, Guards, Http},
    feed::{
        source::{FetchError, Fetched, http::Text},
        store::Validators,
    },
};
use weir_tests::{
    namespace::Namespace,
    web::{Answer, Body, Server},
};

use super::tls::{self, Authority};

const LIST: &str = "192.0.2.1\n198.51.100.0/24\n";
const SECRET: &str = "s3cret-of-the-test";

fn http(url: impl Into<String>) -> Http {
    Http {
        url: url.into(),
        insecure: true,
        private: true,
        auth: Auth::None,
        proxy: None,
        ca: None,
        client_certificate: None,
        timeout: Duration::from_secs(5),
    }
}

fn small() -> Guards {
    Guards { bytes: 4 << 20, ..Guards::default() }
}

async fn fetch(http: &Http) -> Result<String, FetchError> {
    match Text::new(http, &small())?.fetch(&Validators::default()).await? {
        Fetched::Text(text, _) => Ok(String::from_utf8(text).unwrap()),
        Fetched::Unchanged | Fetched::List(_) | Fetched::Ledger(..) => {
            unreachable!("asked for all of a text")
        }
    }
}

async fn failure(http: &Http) -> FetchError {
    let error = fetch(http).await.unwrap_err();
    assert!(FetchError::CAUSES.contains(&error.cause), "{}: {}", error.cause, error.message);
    assert!(!error.message.contains(SECRET) && !error.message.contains("token"), "{}", error.message);
    error
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn secret(directory: &TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    path
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let server = Server::start(None).unwrap();
    server.list("/list", LIST);
    let mut text = Text::new(&http(server.url("/list?token=a")), &small()).unwrap();
    let Fetched::Text(body, validators) = text.fetch(&Validators::default()).await.unwrap() else {
        unreachable!("asked for all of a text");
    };
    assert_eq!(body, LIST.as_bytes());
    assert!(matches!(text.fetch(&validators).await.unwrap(), Fetched::Unchanged));
    assert!(matches!(text.fetch(&Validators::default()).await.unwrap(), Fetched::Text(..)));
    assert_eq!((server.count("/list", 200), server.count("/list", 304)), (2, 1));
    let (request, _) = server.asked("/list").remove(0);
    assert!(request.header("user-agent").starts_with("weir/"), "{request:?}");
    assert_eq!(request.header("accept-encoding"), "gzip, zstd");
    assert_eq!(request.path, "/list?token=a");

    // By date, where the server has that only.
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    server.handle("/dated", move |request| {
        if request.header("if-modified-since") == date {
            Answer::status(304).body(Body::Whole(Vec::new()))
        } else {
            Answer::ok(LIST).header("Last-Modified", date)
        }
    });
    let mut text = Text::new(&http(server.url("/dated")), &small()).unwrap();
    let Fetched::Text(_, validators) = text.fetch(&Validators::default()).await.unwrap() else {
        unreachable!("asked for all of a text");
    };
    assert!(matches!(text.fetch(&validators).await.unwrap(), Fetched::Unchanged));
}

#[tokio::test]
async fn packed_lists_are_unpacked() {
    let server = Server::start(None).unwrap();
    server.answer("/gzip", Answer::ok(gzip(LIST.as_bytes())).header("Content-Encoding", "gzip"));
    let zstd = zstd::encode_all(LIST.as_bytes(), 3).unwrap();
    server.answer("/zstd", Answer::ok(zstd).header("Content-Encoding", "zstd"));
    server.answer("/list.gz", Answer::ok(gzip(LIST.as_bytes())));
    let drip = Body::Drip(LIST.into(), 3, Duration::from_millis(1));
    server.answer("/drip", Answer::ok("").body(drip));
    for path in ["/gzip", "/zstd", "/list.gz", "/drip"] {
        assert_eq!(fetch(&http(server.url(path))).await.unwrap(), LIST, "{path}");
    }
}

#[tokio::test]
async fn each_fault_has_its_cause_and_a_mend() {
    let server = Server::start(None).unwrap();
    let zeros = vec![b'\n'; 3 << 20];
    let page = "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n";
    for (name, answer, cause, want) in [
        ("missing", Answer::status(404), "status", "look up where"),
        ("broken", Answer::status(500), "status", "500"),
        ("partial", Answer::status(206), "status", "a part only"),
        ("busy", Answer::status(429).header("Retry-After", "7"), "status", "raise interval"),
        ("unknown", Answer::status(401), "auth", "http.header"),
        ("forbidden", Answer::status(403), "auth", "http.basic"),
        ("unasked", Answer::status(304).body(Body::Whole(Vec::new())), "protocol", "304"),
        ("large", Answer::ok(vec![b'#'; (4 << 20) + 1]), "size", "guards.bytes"),
        ("announced", Answer::ok("").body(Body::Cut(Vec::new(), 1 << 40)), "size", "guards.bytes"),
        ("endless", Answer::ok("").body(Body::Endless(vec![b'#'; 64 << 10])), "size", "guards.bytes"),
        ("cut", Answer::ok("").body(Body::Cut(LIST.into(), 1000)), "protocol", "breaks off"),
        ("bomb", Answer::ok(gzip(&zeros)).header("Content-Encoding", "gzip"), "ratio", "100 times"),
        ("bomb.gz", Answer::ok(gzip(&zeros)), "ratio", "100 times"),
        ("lie", Answer::ok(LIST).header("Content-Encoding", "gzip"), "encoding", "no whole gzip"),
        ("deflate", Answer::ok(LIST).header("Content-Encoding", "deflate"), "encoding", "`deflate`"),
        ("list.zip", Answer::ok(LIST), "encoding", "not zip"),
        ("page", Answer::ok(page).header("Content-Type", "text/html; charset=utf-8"), "html", "HTML page"),
        ("nowhere", Answer::status(302), "redirect", "nowhere"),
        ("ftp", Answer::redirect(301, "ftp://lists.example/"), "redirect", "`ftp`"),
        ("file", Answer::redirect(301, "file:///etc/passwd"), "redirect", "nowhere"),
        ("loop", Answer::redirect(302, "/loop"), "redirect", "5 times"),
    ] {
        let path = format!("/{name}");
        server.answer(&path, answer);
        let error = failure(&http(server.url(&format!("{path}?token=a")))).await;
        assert_eq!(error.cause, cause, "{name}: {}", error.message);
        assert!(error.message.contains(want), "{name}: {}", error.message);
        assert!(error.message.starts_with(&server.url(&path)), "{name}: {}", error.message);
        assert_eq!(error.retry_after, (name == "busy").then_some(Duration::from_secs(7)), "{name}");
    }
    // A list that is called a page is one all the same.
    server.answer("/called", Answer::ok(LIST).header("Content-Type", "text/html"));
    assert_eq!(fetch(&http(server.url("/called"))).await.unwrap(), LIST);
}

#[tokio::test]
async fn nothing_takes_longer_than_it_may() {
    let server = Server::start(None).unwrap();
    server.answer("/hang", Answer::ok("").body(Body::Hang));
    server.answer("/slow", Answer::ok("").body(Body::Drip(LIST.into(), 1, Duration::from_millis(300))));
    for path in ["/hang", "/slow"] {
        let started = Instant::now();
        let error = failure(&Http { timeout: Duration::from_millis(700), ..http(server.url(path)) }).await;
        assert_eq!(error.cause, "timeout", "{path}: {}", error.message);
        assert!(error.message.contains("700ms"), "{}", error.message);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn where_nobody_is() {
    let server = Server::start(None).unwrap();
    let gone = server.url("/list");
    drop(server);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = failure(&http(gone)).await;
    assert!(error.cause == "connect" && error.message.contains("host, port"), "{}", error.message);
    let error = failure(&http("http://nobody.invalid/list")).await;
    assert!(error.cause == "connect" && error.message.contains("DNS"), "{}", error.message);
    let error = failure(&Http { insecure: false, ..http("http://192.0.2.1/list") }).await;
    assert!(error.message.contains("http.insecure"), "{}", error.message);
    assert!(Text::new(&http("ftp://lists.example/a?token=a"), &small()).is_err());
}

#[tokio::test]
async fn redirects_are_followed_so_far() {
    let server = Server::start(None).unwrap();
    server.answer("/0", Answer::ok(LIST));
    for hop in 1..=6 {
        let status = [301, 302, 303, 307, 308][hop % 5];
        server.answer(&format!("/{hop}"), Answer::redirect(status, format!("/{}", hop - 1)));
    }
    assert_eq!(fetch(&http(server.url("/5"))).await.unwrap(), LIST);
    assert_eq!(failure(&http(server.url("/6"))).await.cause, "redirect");
}

#[tokio::test]
async fn secrets_go_to_their_server_only() {
    let directory = TempDir::new().unwrap();
    let (server, other) = (Server::start(None).unwrap(), Server::start(None).unwrap());
    let check = |name: &'static str, want: &'static str| {
        move |request: &weir_tests::web::Request| {
            if request.header(name) == want { Answer::ok(LIST) } else { Answer::status(401) }
        }
    };
    server.handle("/header", check("key", "Bearer s3cret-of-the-test"));
    server.handle("/basic", check("authorization", "Basic dTpzM2NyZXQtb2YtdGhlLXRlc3Q="));
    server.answer("/away", Answer::redirect(302, other.url("/list")));
    server.answer("/here", Answer::redirect(302, "/header"));
    other.answer("/list", Answer::ok(LIST));
    let file = secret(&directory, &format!("{SECRET}\n"));
    let header = Auth::Header { name: "Key".to_owned(), prefix: "Bearer ".to_owned(), file: file.clone() };
    let basic = Auth::Basic { user: "u".to_owned(), file: file.clone() };
    for (path, auth) in [("/header", &header), ("/here", &header), ("/basic", &basic), ("/away", &header)] {
        let http = Http { auth: auth.clone(), ..http(server.url(path)) };
        assert_eq!(fetch(&http).await.unwrap(), LIST, "{path}");
    }
    assert!(!server.asked("/away")[0].0.header("key").is_empty());
    let (request, _) = other.asked("/list").remove(0);
    assert!(request.header("key").is_empty() && request.header("authorization").is_empty(), "{request:?}");

    // Read anew each time; what is wrong with it is told, but not what it is.
    let asks = Http { auth: header, ..http(server.url("/header")) };
    let mut text = Text::new(&asks, &small()).unwrap();
    fs::write(&file, "another").unwrap();
    let error = text.fetch(&Validators::default()).await.unwrap_err();
    assert!(error.cause == "auth" && error.message.contains("renew it"), "{}", error.message);
    secret(&directory, &format!("{SECRET}\r\n"));
    assert!(text.fetch(&Validators::default()).await.is_ok());
    for (bad, want) in [("", "is empty"), ("\n", "is empty"), ("s3cret-of-the-test\0", "no header may have")]
    {
        fs::write(&file, bad).unwrap();
        let error = failure(&asks).await;
        assert!(error.cause == "auth" && error.message.contains(want), "{bad:?}: {}", error.message);
    }
    fs::remove_file(&file).unwrap();
    let error = failure(&asks).await;
    assert!(error.cause == "auth" && error.message.contains("cannot be read"), "{}", error.message);
}

fn write(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn https(server: &Server, path: &str, ca: Option<&Path>) -> Http {
    let url = format!("https://localhost:{}{path}", server.address().port());
    Http { ca: ca.map(Path::to_owned), insecure: false, ..http(url) }
}

#[tokio::test]
async fn certificates_lead_to_a_root_that_is_known() {
    let directory = TempDir::new().unwrap();
    let (authority, other) = (Authority::new(), Authority::new());
    let server = tls::server(&authority.certify("localhost"), None);
    server.answer("/list", Answer::ok(LIST));
    let plain = Server::start(None).unwrap();
    server.answer("/down", Answer::redirect(302, plain.url("/list")));
    let ca = write(&directory, "ca.pem", &authority.pem());
    assert_eq!(fetch(&https(&server, "/list", Some(&ca))).await.unwrap(), LIST);

    let error = failure(&https(&server, "/list", None)).await;
    assert!(error.cause == "tls" && error.message.contains("http.ca"), "{}", error.message);
    let wrong = write(&directory, "other.pem", &other.pem());
    let error = failure(&https(&server, "/list", Some(&wrong))).await;
    assert!(error.cause == "tls" && error.message.contains("http.ca"), "{}", error.message);
    let misnamed = tls::server(&authority.certify("lists.example"), None);
    assert_eq!(failure(&https(&misnamed, "/list", Some(&ca))).await.cause, "tls");
    // Some servers say what they think of it, others hang up.
    let error = failure(&https(&plain, "/list", Some(&ca))).await;
    assert!(["tls", "connect"].contains(&error.cause), "{}", error.message);

    // Never from protected to unprotected, whatever else is allowed.
    let allowed = Http { insecure: true, ..https(&server, "/down", Some(&ca)) };
    let error = failure(&allowed).await;
    assert!(error.cause == "redirect" && error.message.contains("never followed"), "{}", error.message);
    assert!(plain.asked("/list").is_empty());

    for text in ["", "no certificate"] {
        let bad = write(&directory, "bad.pem", text);
        let error = failure(&https(&server, "/list", Some(&bad))).await;
        assert!(error.cause == "tls" && error.message.contains("bad.pem"), "{}", error.message);
    }
    // A root that is replaced is read anew.
    let mut text = Text::new(&https(&server, "/list", Some(&wrong)), &small()).unwrap();
    assert!(text.fetch(&Validators::default()).await.is_err());
    write(&directory, "other.pem", &authority.pem());
    assert!(text.fetch(&Validators::default()).await.is_ok());
}

#[tokio::test]
async fn a_certificate_of_ones_own_goes_to_its_server_only() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new();
    let of_server = authority.certify("localhost");
    let server = tls::server(&of_server, Some(&authority));
    let other = tls::server(&of_server, Some(&authority));
    server.answer("/list", Answer::ok(LIST));
    other.answer("/list", Answer::ok(LIST));
    let away = format!("https://localhost:{}/list", other.address().port());
    server.answer("/away", Answer::redirect(302, away));
    let ca = write(&directory, "ca.pem", &authority.pem());
    let error = failure(&https(&server, "/list", Some(&ca))).await;
    assert!(error.cause == "tls" && error.message.contains("client_certificate"), "{}", error.message);
    let own = authority.certify("agent");
    let own = write(&directory, "own.pem", &format!("{}{}", own.certificate, own.key));
    let certified = |path| Http { client_certificate: Some(own.clone()), ..https(&server, path, Some(&ca)) };
    assert_eq!(fetch(&certified("/list")).await.unwrap(), LIST);
    assert_eq!(failure(&certified("/away")).await.cause, "tls");
    let half = Http { client_certificate: Some(ca.clone()), ..https(&server, "/list", Some(&ca)) };
    let error = failure(&half).await;
    assert!(error.cause == "tls" && error.message.contains("with its key"), "{}", error.message);
}

#[tokio::test]
async fn a_proxy_is_gone_through() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new();
    let target = tls::server(&authority.certify("localhost"), None);
    target.answer("/list", Answer::ok(LIST));
    let ca = write(&directory, "ca.pem", &authority.pem());
    let proxy = Server::start(None).unwrap();
    proxy.answer("CONNECT", Answer::status(200));
    proxy.answer("http://lists.example/list", Answer::ok(LIST));
    let through = |http: Http| Http { proxy: Some(proxy.url("")), ..http };
    assert_eq!(fetch(&through(https(&target, "/list", Some(&ca)))).await.unwrap(), LIST);
    assert_eq!(proxy.asked("CONNECT").len(), 0, "its path is the host");
    assert_eq!(proxy.count(&format!("localhost:{}", target.address().port()), 200), 1);
    // The proxy may be inside, where lists may not.
    let outside = Http { private: false, ..through(http("http://lists.example/list")) };
    assert_eq!(fetch(&outside).await.unwrap(), LIST);
    let inside = Http { private: false, ..through(http("http://127.0.0.1/list")) };
    assert_eq!(failure(&inside).await.cause, "address");
    proxy.answer("CONNECT", Answer::status(403));
    let error = failure(&through(https(&target, "/list", Some(&ca)))).await;
    assert!(error.cause == "connect" && error.message.contains("http.proxy"), "{}", error.message);
    assert!(Text::new(&Http { proxy: Some("socks5://127.0.0.1".to_owned()), ..outside }, &small()).is_err());
}

#[tokio::test]
async fn how_long_an_answer_is_good_for() {
    let server = Server::start(None).unwrap();
    server.answer("/list", Answer::ok(LIST).header("Cache-Control", "max-age=300").header("Age", "60"));
    let mut text = Text::new(&http(server.url("/list")), &small()).unwrap();
    assert_eq!(text.fresh_for(), None);
    text.fetch(&Validators::default()).await.unwrap();
    assert_eq!(text.fresh_for(), Some(Duration::from_mins(4)));
    server.answer("/list", Answer::status(500));
    assert!(text.fetch(&Validators::default()).await.is_err());
    assert_eq!(text.fresh_for(), None);
}

/// A server elsewhere cannot make the agent ask servers here.
#[test]
fn nobody_leads_inside() {
    let namespace = Namespace::new().unwrap();
    namespace.ip("addr add 192.0.2.80/32 dev lo").unwrap();
    let public: IpAddr = "192.0.2.80".parse().unwrap();
    let server = Server::start_at(Some(&namespace), public).unwrap();
    let inside = Server::start(Some(&namespace)).unwrap();
    inside.answer("/list", Answer::ok(LIST));
    server.answer("/list", Answer::ok(LIST));
    let port = inside.address().port();
    let ask = |path: &str| {
        let http = Http { private: false, ..http(server.url(path)) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(fetch(&http)))
    };
    assert_eq!(namespace.run(|| ask("/list")).unwrap().unwrap(), LIST);
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
    ] {
        server.answer("/lead", Answer::redirect(302, format!("http://{host}:{port}/list")));
        let error = namespace.run(|| ask("/lead")).unwrap().unwrap_err();
        assert_eq!(error.cause, "address", "{host}: {}", error.message);
        assert!(error.message.contains("http.private"), "{}", error.message);
    }
    assert!(inside.asked("/list").is_empty());
}
