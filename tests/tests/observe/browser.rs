//! The page in Chromium, over `WebDriver` (<https://www.w3.org/TR/webdriver2/>).

use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::{
    namespace::Namespace,
    patience,
    peers::{Program, lay_over, missing},
};

use crate::{
    http,
    stand::{BANNED, HOSTILE, LISTED, QUIET, STATUS, Stand, at},
};

const DRIVER: SocketAddr = at(9515);
const SECONDS: u64 = 60;
/// What `WebDriver` calls an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

struct Browser {
    namespace: Namespace,
    session: String,
    _driver: Program,
    _directory: TempDir,
}

impl Browser {
    /// Starts one in a namespace, of a desk or of a phone at night; nothing: there is none on this machine.
    fn start(namespace: &Namespace, phone: bool) -> Option<Self> {
        let driver = Program::find("chromedriver")?;
        // Unpacked beside the driver; else the driver knows where it is installed.
        let chromium = driver.parent()?.parent()?.join("lib/chromium/chromium");
        // Chromium takes no step without a font.
        lay_over(namespace, "usr/share").unwrap();
        lay_over(namespace, "etc").unwrap();
        let directory = tempfile::Builder::new().prefix("browser-").tempdir().unwrap();
        let arguments = [format!("--port={}", DRIVER.port()), "--allowed-ips=127.0.0.1".to_owned()];
        let arguments = arguments.each_ref().map(String::as_str);
        let started = Program::start(namespace, &driver, &arguments, directory.path(), Some(DRIVER)).unwrap();
        let mut options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--window-size=1280,900",
            format!("--user-data-dir={}", directory.path().join("profile").display()),
        ]});
        if phone {
            options["mobileEmulation"] =
                json!({"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2, "touch": true}});
            options["args"].as_array_mut().unwrap().push("--force-dark-mode".into());
        }
        if chromium.is_file() {
            options["binary"] = chromium.display().to_string().into();
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = http::ask(namespace, DRIVER, "POST", "/session", "", &wanted.to_string()).unwrap();
        let said = answer.json();
        let session = said["value"]["sessionId"].as_str();
        let session = session.with_context(|| format!("no session: {said}\n{}", started.log())).unwrap();
        let session = format!("/session/{session}");
        Some(Self { namespace: namespace.clone(), session, _driver: started, _directory: directory })
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("{}{path}", self.session);
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let answer = http::ask(&self.namespace, DRIVER, method, &path, "", &body).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()["value"].clone()
    }

    fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({"url": url}));
    }

    /// Runs a script in the page and returns what it returns.
    fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    fn element(&self, selector: &str) -> String {
        let found = self.command("POST", "/element", &json!({"using": "css selector", "value": selector}));
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    fn text(&self, selector: &str) -> String {
        let text = self.command("GET", &format!("{}/text", self.element(selector)), &Value::Null);
        text.as_str().unwrap().to_owned()
    }

    fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command("POST", &format!("{element}/clear"), &json!({}));
        self.command("POST", &format!("{element}/value"), &json!({"text": text}));
    }

    fn click(&self, selector: &str) {
        self.command("POST", &format!("{}/click", self.element(selector)), &json!({}));
    }

    fn wait_for(&self, selector: &str, part: &str) -> String {
        let deadline = Instant::now() + patience::seconds(SECONDS);
        loop {
            let text = self.text(selector);
            if text.contains(part) {
                return text;
            }
            assert!(Instant::now() < deadline, "no `{part}` in {selector}: {text}; {:?}", self.log());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the browser complains of.
    fn log(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", &json!({"type": "browser"}));
        let lines = log.as_array().unwrap().iter().map(|line| line["message"].to_string());
        lines.filter(|line| !line.contains("favicon.ico")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Else the browser would outlive its driver.
        _ = http::ask(&self.namespace, DRIVER, "DELETE", &self.session, "", "");
    }
}

#[test]
fn an_address_is_searched_and_its_verdict_is_seen() {
    let stand = Stand::new();
    stand.rule(&format!("{BANNED}/32"), "ban", HOSTILE);
    stand.rule("203.0.113.128/25", "allow", "partner");
    stand.traffic();
    let Some(browser) = Browser::start(&stand.pair.server, false) else {
        return missing("browser", "chromedriver");
    };
    browser.open(&format!("http://{STATUS}/"));
    browser.wait_for("#state", "as of");
    assert_eq!(browser.text("#mode"), "enforcing");
    assert!(browser.text("#feeds").contains("bad"));
    assert!(browser.text("#limits").contains("per-source"));
    assert!(browser.text("#reasons").contains("feed"));
    assert!(browser.text("#l7").contains("deny"));
    assert!(browser.text("#host").contains("eth0"));

    // What somebody wrote is text, not markup.
    let bans = browser.text("#bans");
    assert!(bans.contains(&BANNED.to_string()) && bans.contains(HOSTILE), "{bans}");
    assert_eq!(browser.run("return document.querySelectorAll('#bans img, #bans script').length"), 0);
    assert!(browser.run("return document.title").as_str().unwrap().starts_with("weir on "));

    for (address, verdict, why) in [
        (LISTED.to_string(), "drop", "feed bad"),
        (BANNED.to_string(), "drop", "ban"),
        (QUIET.to_string(), "pass", "in no list"),
    ] {
        browser.write("#address", &address);
        browser.write("#port", "443/tcp");
        browser.click("#search button");
        let answer = browser.wait_for("#answer", &address);
        assert!(answer.starts_with(verdict) && answer.contains(why), "{answer}");
    }
    browser.write("#address", "<b>nobody</b>");
    browser.click("#search button");
    browser.wait_for("#answer", "is no address");
    assert_eq!(browser.run("return document.querySelectorAll('#answer b').length"), 0);

    // The curve has points once there are figures, and rates come and go.
    browser.wait_for("#rate-pass", "");
    let deadline = Instant::now() + patience::seconds(SECONDS);
    while browser.run("return document.querySelector('#chart polyline.pass').getAttribute('points').length")
        == 0
    {
        assert!(Instant::now() < deadline, "no curve");
        thread::sleep(Duration::from_millis(200));
    }
    // What the policy forbids would be complained of, and so would any mistake of the script. That an
    // address was none is the answer 422.
    let complaints: Vec<String> = browser.log().into_iter().filter(|line| !line.contains("422")).collect();
    assert_eq!(complaints, Vec::<String>::new());
    // A policy that does not hold would let this run.
    let injected = "const s = document.createElement('script'); s.textContent = 'window.owned = 1'; \
                    document.body.append(s); return window.owned === undefined";
    assert_eq!(browser.run(injected), true);
}

#[test]
fn the_page_can_be_read_by_everybody() {
    let stand = Stand::new();
    stand.rule(
        &format!("{BANNED}/32"),
        "ban",
        "a note that is long enough to need more than one line on a phone",
    );
    stand.traffic();
    let Some(browser) = Browser::start(&stand.pair.server, true) else {
        return missing("browser", "chromedriver");
    };
    browser.open(&format!("http://{STATUS}/"));
    browser.wait_for("#state", "as of");
    // A phone: nothing is wider than the window.
    assert_eq!(browser.run("return window.innerWidth"), 390);
    let wide =
        browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wide, 0);
    // Whoever cannot see it: everything has a name.
    let nameless = "return [...document.querySelectorAll('section')].filter(s => !document.getElementById(s.getAttribute('aria-labelledby'))).length \
                    + [...document.querySelectorAll('input')].filter(i => !i.labels.length).length \
                    + [...document.querySelectorAll('table')].filter(t => !t.caption || !t.caption.textContent).length \
                    + [...document.querySelectorAll('thead th')].filter(h => h.scope !== 'col').length \
                    + [...document.querySelectorAll('svg')].filter(s => !s.getAttribute('aria-label')).length \
                    + (document.documentElement.lang ? 0 : 1) + (document.querySelectorAll('h1').length - 1)";
    assert_eq!(browser.run(nameless), 0);
    // Contrast of text and of verdicts with what is behind them: WCAG 2.1 AA wants 4.5.
    let contrast = "
        const light = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
        const section = light(getComputedStyle(document.querySelector('section')).backgroundColor);
        const worst = ['.pass', '.drop', '.would_drop', '.faint', 'section td'].map(s => {
            const made = document.querySelector('main ' + s) || document.querySelector(s);
            const text = light(getComputedStyle(made).color);
            return (Math.max(text, section) + 0.05) / (Math.min(text, section) + 0.05);
        });
        return Math.min(...worst);";
    assert!(browser.run(contrast).as_f64().unwrap() >= 4.5, "{}", browser.run(contrast));
    let dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches");
    if let Some(folder) = std::env::var_os("WEIR_PICTURES") {
        let picture = browser.command("GET", "/screenshot", &Value::Null);
        fs::write(std::path::Path::new(&folder).join("status.base64"), picture.as_str().unwrap()).unwrap();
    }
    assert_eq!(dark, true);
}
