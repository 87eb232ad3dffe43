use std::{collections::HashSet, path::Path};

use serde_json::{Value, json};

use super::{AT_START, EXAMPLES, SECTIONS, Setting, settings, takes_effect};
use crate::config::{Config, ConfigError, schema};

fn examples() -> Value {
    serde_saphyr::from_str(EXAMPLES).unwrap()
}

fn all() -> Vec<Setting> {
    settings(&schema(), EXAMPLES)
}

fn parse(value: &Value) -> Result<Config, ConfigError> {
    Config::parse(Path::new("weir.yaml"), &value.to_string())
}

/// Returns the JSON pointer of the first place at which a setting has a value.
pub(super) fn find(value: &Value, path: &str) -> Option<String> {
    let (head, rest) = path.split_once('.').map_or((path, ""), |(head, rest)| (head, rest));
    let below = |value: &Value, at: String| match rest {
        "" => Some(at),
        _ => find(value, rest).map(|place| format!("{at}{place}")),
    };
    match head.strip_suffix("[]") {
        Some(key) => {
            let list = value.get(key)?.as_array()?;
            list.iter().enumerate().find_map(|(i, value)| below(value, format!("/{key}/{i}")))
        }
        None => below(value.get(head)?, format!("/{head}")),
    }
}

/// Returns the examples with another value in this place, or with none.
fn changed(place: &str, to: Option<Value>) -> Value {
    let mut value = examples();
    let (above, key) = place.rsplit_once('/').unwrap();
    let above = value.pointer_mut(above).unwrap().as_object_mut().unwrap();
    match to {
        Some(to) => _ = above.insert(key.to_owned(), to),
        None => _ = above.remove(key),
    }
    value
}

#[test]
fn every_setting_has_an_example_that_is_valid() {
    parse(&examples()).unwrap();
    let silent: Vec<_> = all().into_iter().filter(|it| find(&examples(), &it.path).is_none()).collect();
    assert!(silent.is_empty(), "write a value into reference/examples.yaml for: {silent:#?}");
}

#[test]
fn defaults_are_what_holds_without() {
    let mut tried = 0;
    for Setting { path, default, required, group, .. } in all() {
        let place = find(&examples(), &path).unwrap();
        let without = parse(&changed(&place, None));
        assert!(!required || without.is_err(), "{path} is not required");
        let Some(default) = default.filter(|_| !group) else { continue };
        let (with, without) = match (parse(&changed(&place, Some(default.clone()))), without) {
            (Ok(with), Ok(without)) => (with, without),
            // Alike, though not valid beside what stands there.
            (Err(_), Err(_)) => continue,
            (with, without) => panic!("{path}: {with:?} is not {without:?}"),
        };
        assert_eq!(format!("{with:?}"), format!("{without:?}"), "the default of {path} is not {default}");
        tried += 1;
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn bounds_are_what_is_refused_beyond() {
    let mut tried = 0;
    for Setting { path, least, most, .. } in all() {
        let place = find(&examples(), &path).unwrap();
        let takes = |value: &Value| parse(&changed(&place, Some(value.clone()))).is_ok();
        for (bound, beyond) in [(least, Direction::Down), (most, Direction::Up)] {
            let Some(bound) = bound else { continue };
            let beyond = beyond.of(&bound);
            assert!(takes(&bound), "{path} does not take {bound}");
            assert!(!takes(&beyond), "{path} takes {beyond}, beyond {bound}");
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[derive(Clone, Copy)]
enum Direction {
    Down,
    Up,
}

impl Direction {
    /// Numbers go a step beyond, numbers with a unit to half or twice as much.
    fn of(self, bound: &Value) -> Value {
        let up = matches!(self, Self::Up);
        let Value::String(text) = bound else {
            let whole = bound.as_i64().map(|number| json!(if up { number + 1 } else { number - 1 }));
            let part = bound.as_f64().map(|number| json!(if up { number + 0.5 } else { number - 0.5 }));
            return whole.or(part).unwrap();
        };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().unwrap();
        json!(format!("{}{unit}", if up { number * 2.0 } else { number / 2.0 }))
    }
}

#[test]
fn what_takes_effect_at_a_start_is_what_the_agent_compares() {
    let before = parse(&examples()).unwrap();
    let mut seen = HashSet::new();
    for Setting { path, .. } in all() {
        if path == "l7" {
            continue;
        }
        let place = find(&examples(), &path).unwrap();
        // What is required cannot be left out; what is not there changes nothing.
        let Ok(after) = parse(&changed(&place, None)) else { continue };
        if format!("{after:?}") == format!("{before:?}") {
            continue;
        }
        let at_start = takes_effect(&path) == "a start";
        assert_eq!(!before.at_start(&after).is_empty(), at_start, "{path}");
        let section = |name: &&str| path.starts_with(*name);
        seen.extend(AT_START.into_iter().chain(SECTIONS.map(|(name, _)| name)).filter(section));
    }
    for (name, _) in SECTIONS {
        // Limits stand on services.
        assert!(seen.contains(name) || name == "services", "{name} was not tried");
    }
}
