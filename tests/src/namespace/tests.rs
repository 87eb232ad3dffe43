use std::{
    fs,
    net::{IpAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use super::*;

const PIN: &str = "/sys/fs/bpf/weir-tests";

fn has_pin(namespace: &Namespace) -> bool {
    namespace.run(|| Ok(Path::new(PIN).exists())).unwrap()
}

fn interfaces() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[test]
fn a_namespace_has_its_own_interfaces_and_pins() {
    let outside = interfaces().unwrap();
    let directory = std::env::current_dir().unwrap();
    let namespace = Namespace::new().unwrap();
    namespace
        .run(|| {
            assert_eq!(interfaces()?, ["lo"]);
            fs::create_dir(PIN)?;
            assert_eq!(std::env::current_dir()?, directory);
            Ok(())
        })
        .unwrap();
    assert!(has_pin(&namespace));
    assert!(!Path::new(PIN).exists());
    assert_eq!(interfaces().unwrap(), outside);
    assert!(!has_pin(&Namespace::new().unwrap()));
}

#[test]
fn commands_run_inside() {
    let namespace = Namespace::new().unwrap();
    let output = namespace.command("ls").arg("/sys/class/net").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "lo\n");
    let output = namespace.command("pwd").current_dir("/etc").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/etc\n");
    assert!(namespace.ip("link set nothing up").unwrap_err().to_string().contains("nothing"));
}

#[test]
#[should_panic(expected = "inside")]
fn a_panic_goes_on_outside() {
    let namespace = Namespace::new().unwrap();
    _ = namespace.run(|| -> Result<()> { panic!("inside") });
}

#[test]
fn a_pair_is_joined() {
    let pair = Pair::new().unwrap();
    let more = ["192.0.2.77", "2001:db8::77"].map(|address| address.parse::<IpAddr>().unwrap());
    pair.add_client_addresses(more).unwrap();
    let [v4, v6] = more;
    let ends: [(IpAddr, IpAddr); 4] = [
        (Pair::CLIENT.v4.into(), Pair::SERVER.v4.into()),
        (Pair::CLIENT.v6.into(), Pair::SERVER.v6.into()),
        (v4, Pair::SERVER.v4.into()),
        (v6, Pair::SERVER.v6.into()),
    ];
    for (client, server) in ends {
        let receiver = pair.server.run(|| Ok(UdpSocket::bind((server, 7))?)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let sender = pair.client.run(|| Ok(UdpSocket::bind((client, 0))?)).unwrap();
        sender.send_to(b"hello", (server, 7)).unwrap();
        let mut buffer = [0; 8];
        let (length, from) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.ip()), (&b"hello"[..], client));
    }
}
