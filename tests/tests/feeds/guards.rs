use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use weir_tests::{
    agent::Agent,
    namespace::Pair,
    web::{
        Answer, Server,
        faults::{Fault, faults},
    },
};

use super::stand::{self, CLEAN, LISTED, OTHER, deliver, entries, refresh, value, wait};

/// Where the server of the lists is: an address that lists may come from.
const PUBLIC: &str = "192.0.2.80";

/// A feed whose list goes wrong, and one whose list does not.
fn feeds(server: &Server) -> [String; 2] {
    [
        format!(
            "{{name: faulty, url: '{}', action: drop, interval: 1s, http: {{insecure: true, timeout: 2s}}, guards: {{bytes: 8MiB}}}}",
            server.url("/faulty?token=a")
        ),
        format!(
            "{{name: good, url: '{}', action: drop, interval: 1s, http: {{insecure: true}}}}",
            server.url("/good")
        ),
    ]
}

fn config(server: &Server) -> String {
    stand::config(&feeds(server).each_ref().map(String::as_str))
}

/// The list with faults as it should be: so many entries, the first of which is listed.
fn list(entries: usize) -> String {
    let more = (1..entries).map(|i| format!("10.{}.{}.{}\n", i >> 16 & 255, i >> 8 & 255, i & 255));
    format!("{LISTED}\n{}", more.collect::<String>())
}

fn served(pair: &Pair) -> Server {
    pair.server.ip(&format!("addr add {PUBLIC}/32 dev lo")).unwrap();
    let server = Server::start_at(Some(&pair.server), PUBLIC.parse().unwrap()).unwrap();
    server.list("/faulty", list(1000));
    server.list("/good", format!("{OTHER}\n"));
    server
}

fn started(pair: &Pair, server: &Server) -> Agent {
    let agent = stand::started(pair, &feeds(server).each_ref().map(String::as_str));
    wait(&agent, "both lists", |agent| entries(agent, "faulty") == 1000 && entries(agent, "good") == 1);
    agent
}

fn held(agent: &Agent) -> bool {
    stand::held(agent, "faulty")
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// What is packed as no honest server packs it, beside all that a server can do wrong.
fn packed() -> [Fault; 3] {
    let packed = |bytes: Vec<u8>| Answer::ok(bytes).header("Content-Encoding", "gzip");
    [
        Fault::new("a bomb", packed(gzip(&vec![b'\n'; 64 << 20])), "ratio", "100 times"),
        Fault::new("not packed as it says", packed(list(1000).into()), "encoding", "no whole gzip"),
        Fault::new(
            "packed as nobody asked",
            Answer::ok("").header("Content-Encoding", "br"),
            "encoding",
            "`br`",
        ),
    ]
}

#[test]
fn no_fault_changes_what_is_enforced() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let agent = started(&pair, &server);
    assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, 10]);
    for Fault { what, answer, cause, word } in faults("faulty", 1000, list).into_iter().chain(packed()) {
        server.answer("/faulty", answer);
        let told = refresh(&agent, "faulty");
        assert!(told.contains(&format!("\"{cause}\"")), "{what}: {told}");
        assert!(told.contains(&word) && !told.contains("token"), "{what}: {told}");
        wait(&agent, what, held);
        assert_eq!((entries(&agent, "faulty"), entries(&agent, "good")), (1000, 1), "{what}");
        assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, 10], "{what}");
        // The other list goes on.
        let before = value(&agent, "weir_feed_reads_total", &[("feed", "good")]);
        refresh(&agent, "good");
        wait(&agent, "the other goes on", |agent| {
            value(agent, "weir_feed_reads_total", &[("feed", "good")]) > before
        });
        server.list("/faulty", list(1000));
        refresh(&agent, "faulty");
        wait(&agent, "it is in order again", |agent| !held(agent));
    }
    assert!(!agent.log().contains("token"), "{}", agent.log());
}

#[test]
fn a_list_that_has_not_changed_costs_nothing() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let agent = started(&pair, &server);
    let path = agent.directory().join("state/feeds/faulty.list");
    wait(&agent, "it is kept", |_| path.exists());
    let written = || fs::metadata(&path).map(|about| std::os::unix::fs::MetadataExt::ino(&about)).unwrap();
    let before = written();
    wait(&agent, "asked again and again", |_| server.count("/faulty", 304) >= 3);
    assert_eq!(server.count("/faulty", 200), 1);
    assert_eq!(written(), before, "it is not written anew");
    assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, 10]);
}

#[test]
fn a_list_that_is_held_is_accepted_by_hand() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let agent = started(&pair, &server);
    let output = agent.weir(&["feeds", "accept", "faulty"]).unwrap();
    assert!(!output.status.success(), "nothing to accept");
    server.list("/faulty", list(400));
    let told = refresh(&agent, "faulty");
    assert!(told.contains("\"shrink\""), "{told}");
    // Whoever asked for it is told, by a script too.
    let output = agent.weir(&["feeds", "refresh", "faulty"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.starts_with("weir: feed faulty: held: "), "{why}");
    // Not sent again only to be held again.
    let sent = server.count("/faulty", 200);
    refresh(&agent, "faulty");
    assert_eq!(server.count("/faulty", 200), sent);
    assert!(held(&agent));
    assert_eq!(entries(&agent, "faulty"), 1000);
    let output = agent.weir(&["feeds", "accept", "faulty"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait(&agent, "in force", |agent| entries(agent, "faulty") == 400 && !held(agent));
    let told = refresh(&agent, "faulty");
    assert!(!told.contains("\"shrink\""), "{told}");
    assert!(!held(&agent), "{}", agent.log());
}

#[test]
fn a_start_without_the_server_enforces_at_once() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let mut agent = started(&pair, &server);
    let path = agent.directory().join("state/feeds/faulty.list");
    wait(&agent, "it is kept", |_| path.exists());
    assert!(agent.stop().unwrap().success());
    assert!(agent.weir(&["unload"]).unwrap().status.success());
    drop(server);
    agent.start().unwrap();
    assert_eq!(entries(&agent, "faulty"), 1000);
    assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, 10]);
    wait(&agent, "it says that nobody answers", |agent| agent.log().contains("cannot be reached"));
    assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, 10]);
}

#[test]
fn a_damaged_copy_is_fetched_anew() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let mut agent = started(&pair, &server);
    let path = agent.directory().join("state/feeds/faulty.list");
    wait(&agent, "it is kept", |_| path.exists());
    assert!(agent.stop().unwrap().success());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let before = server.count("/faulty", 200);
    agent.start().unwrap();
    wait(&agent, "the whole list", |agent| entries(agent, "faulty") == 1000);
    assert_eq!(server.count("/faulty", 200), before + 1, "asked without an ETag");
    assert!(agent.log().contains("faulty.list.bad"), "{}", agent.log());
    assert!(path.with_extension("list.bad").exists());
    assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, 10]);
}

#[test]
fn a_full_disk_does_not_matter_until_the_next_start() {
    let pair = Pair::new().unwrap();
    let server = served(&pair);
    let mut agent = stand::agent(&pair);
    let state = agent.directory().join("state");
    fs::create_dir(&state).unwrap();
    // 40 KiB: 1000 entries have room, 9000 have none beside them.
    let mounted =
        pair.server.command("mount").args(["-t", "tmpfs", "-o", "size=40k", "tmpfs"]).arg(&state).status();
    assert!(mounted.unwrap().success());
    agent.configure(&config(&server)).unwrap();
    agent.start().unwrap();
    wait(&agent, "the list", |agent| entries(agent, "faulty") == 1000);
    let kept = || {
        pair.server.run(|| Ok(fs::metadata(state.join("feeds/faulty.list")).map(|about| about.len()).ok()))
    };
    wait(&agent, "it is kept", |_| kept().unwrap().is_some());
    let size = kept().unwrap();
    server.list("/faulty", list(9000));
    refresh(&agent, "faulty");
    wait(&agent, "the new one in force", |agent| entries(agent, "faulty") == 9000);
    wait(&agent, "it is told", |agent| agent.log().contains("the one before is kept"));
    assert_eq!(kept().unwrap(), size);
    assert_eq!(deliver(&pair, &[LISTED, OTHER, CLEAN]), [0, 0, 10]);
    // Without the server it is the one before.
    agent.kill().unwrap();
    drop(server);
    agent.start().unwrap();
    assert_eq!(entries(&agent, "faulty"), 1000);
}
