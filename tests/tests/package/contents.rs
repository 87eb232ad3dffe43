use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use weir_tests::agent::binary;

use crate::{FIRST, not_run, package};

/// The most that `systemd-analyze security` may count, in tenths: 0 is a service that can do nothing, and
/// that of a unit without settings is 96.
const EXPOSURE: u32 = 19;

fn unit() -> String {
    format!("{}/../deploy/systemd/weir.service", env!("CARGO_MANIFEST_DIR"))
}

fn said(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| unreachable!("{command:?}: {error}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn systemd_finds_the_unit_little_exposed() {
    if not_run("systemd-analyze security") {
        return;
    }
    let threshold = format!("--threshold={EXPOSURE}");
    let (ok, text) = said(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &threshold])
            .arg(unit()),
    );
    println!("{}", text.lines().last().unwrap_or_default());
    assert!(ok, "{text}");
}

/// Paths in the package, with their modes and owners.
fn listing(deb: &Path) -> BTreeMap<String, String> {
    let (ok, text) = said(Command::new("dpkg-deb").arg("--contents").arg(deb));
    assert!(ok, "{text}");
    let rows = text.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let path = words.get(5)?.trim_start_matches('.').to_owned();
        Some((path, format!("{} {}", words[0], words[1])))
    });
    rows.collect()
}

#[test]
fn the_package_has_what_hosts_need_and_lintian_agrees() {
    if not_run("contents of the package") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let deb = package(FIRST, directory.path());
    let files = listing(&deb);
    for path in [
        "/usr/bin/weir",
        "/etc/weir/weir.yaml",
        "/usr/lib/systemd/system/weir.service",
        "/usr/lib/systemd/system/weir-bpffs.service",
        "/usr/lib/sysusers.d/weir.conf",
        "/usr/share/bash-completion/completions/weir",
        "/usr/share/zsh/vendor-completions/_weir",
        "/usr/share/fish/vendor_completions.d/weir.fish",
        "/usr/share/man/man1/weir.1.gz",
        "/usr/share/man/man1/weir-ban.1.gz",
        "/usr/share/doc/weir/copyright",
        "/usr/share/doc/weir/changelog.Debian.gz",
        "/usr/share/doc/weir/docs/install.md",
        "/usr/share/doc/weir/config/example.yaml",
        "/usr/share/doc/weir/config/policy-cases.yaml",
        "/usr/share/doc/weir/config/l7-cases.yaml",
        "/usr/share/doc/weir/deploy/systemd/credentials.conf",
        "/usr/share/doc/weir/deploy/prometheus/alerts.yaml",
        "/usr/share/doc/weir/deploy/grafana/weir.json",
    ] {
        let mode = files.get(path).unwrap_or_else(|| unreachable!("no {path} in {files:#?}"));
        let want = if path == "/usr/bin/weir" { "-rwxr-xr-x" } else { "-rw-r--r--" };
        assert_eq!(*mode, format!("{want} 0/0"), "{path}");
    }
    let (_, conffiles) = said(Command::new("dpkg-deb").arg("--info").arg(&deb).arg("conffiles"));
    assert_eq!(conffiles, "/etc/weir/weir.yaml\n");
    let (ok, tags) = said(
        Command::new("lintian").args(["--fail-on", "error,warning", "--tag-display-limit", "0"]).arg(&deb),
    );
    assert!(ok, "{tags}");
    assert!(!tags.contains("unused-override"), "{tags}");
    links_lead_somewhere(&deb, &directory.path().join("unpacked"));
}

/// Checks that what the documents of a package lead to is in it.
fn links_lead_somewhere(deb: &Path, to: &Path) {
    let (ok, text) = said(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(to));
    assert!(ok, "{text}");
    let mut documents = Vec::new();
    find_documents(&to.join("usr/share/doc/weir"), &mut documents);
    let mut seen = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            let place = document.with_file_name(target);
            assert!(place.exists(), "{} leads to {target}, which is not in the package", document.display());
            seen += 1;
        }
    }
    assert!(seen > 200, "only {seen} links were found");
}

fn find_documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn the_same_sources_make_the_same_package_and_its_sum_is_beside_it() {
    if not_run("reproducible package") {
        return;
    }
    let [one, other] = [(); 2].map(|()| {
        let directory = tempfile::tempdir().unwrap();
        let bytes = fs::read(package(FIRST, directory.path())).unwrap();
        let checked =
            said(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(directory.path()));
        assert!(checked.0 && checked.1.contains(".deb: OK"), "{}", checked.1);
        bytes
    });
    assert!(one == other, "two packages of the same sources differ");
}

#[test]
fn the_configuration_of_the_package_is_valid_and_drops_nothing() {
    let path = format!("{}/../deploy/debian/weir.yaml", env!("CARGO_MANIFEST_DIR"));
    assert!(fs::read_to_string(&path).unwrap().contains("\nenforce: shadow"));
    let mut command = Command::new(binary().unwrap());
    let (ok, text) = said(command.args(["check", "--no-lists", "--config", &path]));
    assert!(ok && text.contains("valid; lists were not read"), "{text}");
}
