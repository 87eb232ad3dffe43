use std::{path::Path, time::Duration};

use crate::{
    config::Config,
    decision::{Verdict, quota::Per, route::Part},
};

const WHOLE: &str = "interfaces: [{name: eth0}]
l7:
  clients: {headers: [x-plan], consumer_header: x-api-key}
  rules:
    - {name: admin, when: \"request.path.startsWith('/admin')\", then: deny}
    - {name: bot, when: \"request.headers['User-Agent'].contains('bot')\", score: 10, enforce: shadow}
    - {name: slow, when: source.over, then: throttle, retry_after: 30s}
  routes:
    - name: orders
      host: '*.example.org'
      path: /v1/orders
      methods: [post]
      on_failure: closed
      deadline: 15ms
      quotas: [{domain: api, entries: [consumer, route]}, {domain: api, entries: ['header:x-tenant']}]
  quotas:
    keys: 10k
    partners: unlimited
    domains:
      - domain: api
        descriptors:
          - key: consumer
            limits: [{requests: 100, per: minute}, {requests: 1000, per: day, burst: 200}]
            descriptors: [{key: route, limits: [{requests: 5, per: second}]}]
          - {key: consumer, value: free-*, limits: [{requests: 5, per: minute}], near: 0.5}
          - {key: consumer, value: gold, unlimited: true}
          - {key: 'header:x-tenant', limits: [{requests: 1, per: month}], enforce: shadow}
    redis: {url: 'redis://192.0.2.1:6379/1', password_file: /etc/weir/redis, timeout: 5ms}
";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("weir.yaml"), text).map_err(|error| error.to_string())
}

#[test]
fn rules_routes_and_quotas_are_read() {
    let l7 = parse(WHOLE).unwrap().l7;
    assert_eq!(l7.rules[0].then, Some(Verdict::Deny));
    assert!(l7.rules[1].shadow && !l7.rules[0].shadow);
    assert_eq!(l7.rules[2].retry_after, Some(Duration::from_secs(30)));
    assert_eq!(l7.routes[0].methods, ["POST"]);
    assert_eq!(l7.routes[0].deadline, Duration::from_millis(15));
    assert!(!l7.routes[0].open);
    assert_eq!(l7.routes[0].charges[0].parts, [Part::Consumer, Part::Route]);
    assert_eq!(l7.clients.headers, ["x-plan", "user-agent", "x-tenant"], "those that are looked at");
    let consumers = &l7.quotas.domains[0].levels["consumer"];
    let any = consumers.any.as_ref().unwrap();
    assert_eq!((any.limits[0].requests, any.limits[0].per, any.limits[0].burst), (100, Per::Minute, 10));
    assert_eq!(any.limits[1].burst, 200);
    assert_eq!(&*any.levels["route"].any.as_ref().unwrap().name, "api/consumer/route");
    assert_eq!(any.levels["route"].any.as_ref().unwrap().limits[0].burst, 1);
    assert_eq!(consumers.prefixes[0].0, "free-");
    assert!(consumers.exact["gold"].unlimited);
    assert_eq!(l7.quotas.keys, 10_000);
    assert!(l7.quotas.partners_unlimited);
    let redis = l7.quotas.redis.unwrap();
    assert_eq!((redis.timeout, redis.fall_back), (Duration::from_millis(5), true));
    let bare = parse("interfaces: [{name: eth0}]\n").unwrap().l7;
    assert!(bare.rules.is_empty() && bare.routes.is_empty() && bare.quotas.redis.is_none());
}

#[test]
fn errors_name_line_field_value_and_mend() {
    for (from, to, wants) in [
        (
            "request.path.starts",
            "request.url.starts",
            &[":5:", "l7.rules[0].when", "`request` has no `url`"][..],
        ),
        ("source.over,", "'source.over &&',", &[":7:", "l7.rules[2].when", "`source.over &&`: at 1:"]),
        ("then: deny", "enforce: shadow", &[":5:", "l7.rules[0]", "`then: deny` or `score: 10`"]),
        ("then: deny", "then: drop", &[":5:", "drop", "deny"]),
        ("score: 10,", "score: 5000,", &[":6:", "l7.rules[1].score", "`5000`"]),
        ("retry_after: 30s", "retry_after: 30", &["l7.rules[2].retry_after", "`30`", "30s"]),
        ("then: throttle,", "then: allow,", &["l7.rules[2].retry_after", "then: throttle"]),
        ("name: bot", "name: admin", &[":6:", "l7.rules[1].name", "twice"]),
        ("path: /v1/orders", "path: v1/orders", &[":11:", "l7.routes[0].path", "write /v1/orders"]),
        ("deadline: 15ms", "deadline: 15", &[":14:", "l7.routes[0].deadline", "`15`", "20ms"]),
        ("on_failure: closed", "on_failure: shut", &[":13:", "shut", "closed"]),
        ("[{domain: api, entries", "[{domain: web, entries", &["quotas[0].domain", "`web`", "[api]"]),
        ("[consumer, route]}", "[user]}", &["quotas[0].entries[0]", "`user`", "consumer, route"]),
        ("[consumer, route]}", "[host]}", &["quotas[0].entries", "`host`", "consumer"]),
        ("value: gold", "value: free-*", &["descriptors[2]", "there already"]),
        ("unlimited: true", "near: 0.9", &["descriptors[2]", "has no effect"]),
        ("near: 0.5", "near: 50", &["descriptors[1].near", "`50`", "0.8"]),
        ("burst: 200", "burst: 2000", &["limits[1].burst", "`2000`", "1 to 1000"]),
        ("per: month", "per: year", &["year", "month"]),
        ("redis://192.0.2.1:6379/1", "rediss://192.0.2.1", &["l7.quotas.redis.url", "TLS"]),
        ("redis://192", "redis://weir:secret@192", &["l7.quotas.redis.url", "line 28", "password_file"]),
        ("/etc/weir/redis", "redis.key", &["password_file", "not absolute"]),
        ("keys: 10k", "keys: 10", &["l7.quotas.keys", "`10`", "1000"]),
    ] {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from}");
        let message = parse(&text).unwrap_err();
        for want in wants {
            assert!(message.contains(want), "no `{want}` in:\n{message}\nfor {to}");
        }
        assert!(!message.contains("secret@"), "{message}");
    }
}
