use std::os::unix::fs::MetadataExt as _;

use super::{
    file::{Staged, signature_of},
    signature::{Key, SignatureError},
    *,
};

fn proposal(comment: &str) -> Proposal {
    Proposal::of(Path::new("test.yaml"), format!("interfaces: [{{name: eth0}}] # {comment}\n"), None).unwrap()
}

fn cause(how: How) -> Cause {
    Cause { by: By::start(), how, returns_to: None, note: "why".to_owned() }
}

fn numbers(versions: &Versions) -> Vec<u64> {
    versions.iter().map(|version| version.number).collect()
}

#[test]
fn what_was_added_is_there_again_and_numbers_are_given_once() {
    let state = tempfile::tempdir().unwrap();
    let mut versions = Versions::open(state.path());
    assert!(matches!(versions.present(), Err(VersionError::Never(_))));
    for n in 1..=KEPT as u64 + 3 {
        let version = versions.add(&proposal(&n.to_string()), cause(How::Apply), None, false).unwrap();
        assert_eq!(version.number, n);
    }
    let again = Versions::open(state.path());
    assert_eq!(numbers(&again), (4..=KEPT as u64 + 3).rev().collect::<Vec<_>>());
    assert_eq!(again.iter().collect::<Vec<_>>(), versions.iter().collect::<Vec<_>>());
    assert_eq!(again.before().unwrap().number, KEPT as u64 + 2);
    let saved = again.load(10).unwrap();
    assert_eq!((saved.text, saved.signature), (proposal("10").text, None));
    assert_eq!(again.load(3).unwrap_err().to_string(), VersionError::None(3).to_string());
    // Also the number of one that is damaged.
    fs::write(state.path().join("policy/60.json"), "{").unwrap();
    let mut again = Versions::open(state.path());
    assert_eq!(again.add(&proposal("x"), cause(How::Reload), Some(7), false).unwrap().number, 61);
    assert_eq!(Versions::open(state.path()).newest().unwrap().signed, Some(7));
}

#[test]
fn a_text_that_was_changed_is_told_from_its_version() {
    let state = tempfile::tempdir().unwrap();
    let mut versions = Versions::open(state.path());
    versions.add(&proposal("a"), cause(How::Start), None, true).unwrap();
    fs::write(state.path().join("policy/1.yaml"), "interfaces: [{name: eth1}]\n").unwrap();
    assert!(matches!(versions.load(1), Err(VersionError::Changed(1))));
    versions.settle(true).unwrap();
    assert!(Versions::open(state.path()).newest().unwrap().until_restart);
    versions.settle(false).unwrap();
    assert!(!Versions::open(state.path()).newest().unwrap().until_restart);
}

#[test]
fn a_file_is_replaced_with_its_mode_through_a_link_and_left_alone_without_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("weir.yaml"), directory.path().join("link.yaml"));
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let signed = Proposal { signature: Some("signature".to_owned()), ..proposal("new") };
    drop(Staged::new(&link, &signed, true).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    Staged::new(&link, &signed, true).unwrap().commit().unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap(), signed.text);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o604);
    assert_eq!(fs::read_to_string(file::replaced_of(&path)).unwrap(), "old");
    assert_eq!(file::read_signature(&path).as_deref(), Some("signature"));
    // That of a text that is gone is of no use.
    Staged::new(&path, &proposal("newer"), false).unwrap().commit().unwrap();
    assert!(!signature_of(&path).exists());
}

/// The key and the signature of `test` in the documentation of minisign-verify.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";
const SIGNED: u64 = 1_633_700_835;

fn signed(text: &str, signature: Option<&str>) -> Proposal {
    let signature = signature.map(str::to_owned);
    Proposal { text: text.to_owned(), digest: Digest::of(text), signature, ..proposal("") }
}

#[test]
fn only_what_is_signed_and_not_old_is_permitted() {
    let state = tempfile::tempdir().unwrap();
    let key: Key = KEY.parse().unwrap();
    let mut versions = Versions::open(state.path());
    let check = |proposal: &Proposal, versions: &Versions| key.check(proposal, versions, false);
    let good = signed("test", Some(SIGNATURE));
    assert_eq!(check(&good, &versions), Ok(Some(SIGNED)));
    let missing = check(&signed("test", None), &versions).unwrap_err().to_string();
    assert!(missing.contains("test.yaml.minisig"), "{missing}");
    for bad in [
        signed("tess", Some(SIGNATURE)),
        signed("test", Some("nonsense")),
        // What the comment says is signed as well.
        signed("test", Some(&SIGNATURE.replace("1633700835", "1833700835"))),
    ] {
        assert!(matches!(check(&bad, &versions), Err(SignatureError::Invalid(_))), "{bad:?}");
    }
    // A version has its signature, for when that beside the file is of another text.
    versions.add(&good, cause(How::Start), Some(SIGNED), false).unwrap();
    assert_eq!(check(&signed("test", Some("nonsense")), &versions), Ok(Some(SIGNED)));
    assert_eq!(check(&signed("test", None), &versions), Ok(Some(SIGNED)));
    // What was signed before the version in force is not put back, unless that is what is asked for.
    versions.add(&signed("other", None), cause(How::Apply), Some(SIGNED + 1), false).unwrap();
    let older = SignatureError::Older { signed: SIGNED, in_force: SIGNED + 1 };
    assert_eq!(check(&good, &versions), Err(older));
    assert_eq!(key.check(&good, &versions, true), Ok(Some(SIGNED)));
    versions.add(&good, cause(How::Rollback), Some(SIGNED), false).unwrap();
    assert_eq!(check(&good, &versions), Ok(Some(SIGNED)));
}

#[test]
fn a_key_is_text_or_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weir.pub");
    for text in [format!("untrusted comment: minisign public key\n{KEY}\n"), format!("{KEY}\n")] {
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().parse::<Key>().unwrap();
    }
    fs::write(&path, "nonsense").unwrap();
    for text in [path.to_str().unwrap(), "/nonexistent", "", &KEY[1..]] {
        let error = text.parse::<Key>().unwrap_err();
        assert!(error.contains("RW..."), "{error}");
    }
}
