use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};
use weir::{
    config::Config,
    decision::quota::{Charged, Descriptor},
    proxy::{
        counts::Counts,
        quotas::{Away, Quotas},
    },
};
use weir_tests::{
    patience,
    peers::{self, Redis},
};

const PATIENCE_SECONDS: u64 = 30;
const LIMIT: &str = "{requests: 100, per: day, burst: 100}";

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A gateway with one quota for each consumer.
fn gateway(redis: &Redis, limits: &str, more: &str) -> (Quotas, Counts) {
    let text = format!(
        "interfaces: [{{name: eth0}}]
l7:
  quotas:
    domains: [{{domain: api, descriptors: [{{key: consumer, limits: [{limits}]}}]}}]
    redis: {{url: '{}', password_file: {}, timeout: 1s{more}}}
",
        redis.socket().display(),
        redis.password_file().display()
    );
    let config = Config::parse(Path::new("weir.yaml"), &text).unwrap();
    let counts = Counts::new().unwrap();
    let quotas = Quotas::new(&config.l7.quotas, &counts.registry).unwrap();
    (quotas, counts)
}

fn consumer(name: &str) -> Descriptor {
    Descriptor { entries: vec![("consumer".to_owned(), name.to_owned())], hits: None }
}

async fn charge(quotas: &Quotas, consumer: &Descriptor) -> Result<Charged, Away> {
    let mut charged = quotas.charge(std::iter::once(("api", consumer)), 1).await?;
    Ok(charged.remove(0))
}

async fn admits(quotas: &Quotas, consumer: &Descriptor) -> bool {
    !charge(quotas, consumer).await.unwrap().answer.over
}

async fn until_connected(quotas: &Quotas, connected: bool) {
    let deadline = Instant::now() + patience::seconds(PATIENCE_SECONDS);
    while quotas.is_connected() != connected {
        assert!(Instant::now() < deadline, "the state of the connection does not change");
        _ = charge(quotas, &consumer("somebody")).await;
        sleep(Duration::from_millis(20)).await;
    }
}

fn metric(counts: &Counts, name: &str) -> f64 {
    let families = counts.registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.map(|family| family.get_metric().to_vec()).unwrap_or_default();
    metrics.iter().map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

#[test]
fn two_gateways_share_a_budget_exactly() {
    let Some(redis) = Redis::start().unwrap() else {
        return peers::missing("two_gateways_share_a_budget_exactly", "redis-server");
    };
    runtime().block_on(async {
        let limits = format!("{LIMIT}, {{requests: 1000, per: month, burst: 1000}}");
        let gateways = [gateway(&redis, &limits, ""), gateway(&redis, &limits, "")];
        for (gateway, _) in &gateways {
            until_connected(gateway, true).await;
        }
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (gateway, _) = &gateways[task % 2];
                let gateway = gateway.clone();
                tokio::spawn(async move {
                    let mut admitted = 0;
                    for _ in 0..50 {
                        admitted += u32::from(admits(&gateway, &consumer("shared")).await);
                    }
                    admitted
                })
            })
            .collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += task.await.unwrap();
        }
        assert_eq!(admitted, 100, "of 400 requests at two gateways");
        let refused = charge(&gateways[0].0, &consumer("shared")).await.unwrap();
        let wait = refused.retry_after.unwrap();
        assert!(wait > Duration::from_secs(800) && wait <= Duration::from_secs(864), "{wait:?}");
        let remembered: f64 =
            gateways.iter().map(|(_, counts)| metric(counts, "weir_l7_quota_remembered_total")).sum();
        assert!(remembered > 200.0, "what is used up is not asked again: {remembered}");
        // A third that remembers nothing: one that refuses keeps the others from being charged.
        let (third, _) = gateway(&redis, &limits, "");
        until_connected(&third, true).await;
        let both = [consumer("other"), consumer("shared")];
        let charged = third.charge(both.iter().map(|consumer| ("api", consumer)), 1).await.unwrap();
        assert_eq!(charged.iter().map(|charged| charged.answer.over).collect::<Vec<_>>(), [false, true]);
        let look = charge(&third, &Descriptor { hits: Some(0), ..consumer("other") }).await.unwrap();
        assert_eq!(look.answer.state.map(|state| (state.limit, state.remaining)), Some((100, 100)));
    });
}

#[test]
fn while_the_store_is_away_each_gateway_grants_by_itself() {
    let Some(mut redis) = Redis::start().unwrap() else {
        return peers::missing("while_the_store_is_away_each_gateway_grants_by_itself", "redis-server");
    };
    runtime().block_on(async {
        let (falls_back, counts) = gateway(&redis, LIMIT, "");
        let (strict, _) = gateway(&redis, LIMIT, ", fallback: none");
        let one = consumer("one");
        for quotas in [&falls_back, &strict] {
            until_connected(quotas, true).await;
        }
        for _ in 0..100 {
            assert!(admits(&falls_back, &one).await);
        }
        redis.kill().unwrap();
        for quotas in [&falls_back, &strict] {
            until_connected(quotas, false).await;
        }
        assert_eq!(charge(&strict, &consumer("two")).await, Err(Away));
        // Its own budget, no more.
        let mut admitted = 0;
        for _ in 0..150 {
            admitted += u32::from(admits(&falls_back, &consumer("three")).await);
        }
        assert_eq!(admitted, 100);
        assert!(metric(&counts, "weir_l7_quota_fallbacks_total") >= 150.0);
        assert!(metric(&counts, "weir_l7_quota_store_connected") < 0.5);
        redis.resume().unwrap();
        for quotas in [&falls_back, &strict] {
            until_connected(quotas, true).await;
        }
        assert!(admits(&strict, &consumer("three")).await, "the store knows nothing of that");
        assert!(metric(&counts, "weir_l7_quota_store_connected") > 0.5);
    });
}

#[test]
fn nobody_waits_for_a_store_that_hangs() {
    let Some(mut redis) = Redis::start().unwrap() else {
        return peers::missing("nobody_waits_for_a_store_that_hangs", "redis-server");
    };
    runtime().block_on(async {
        let (quotas, counts) = gateway(&redis, LIMIT, "");
        let quotas = Arc::new(quotas);
        until_connected(&quotas, true).await;
        redis.freeze(true).unwrap();
        let started = Instant::now();
        until_connected(&quotas, false).await;
        assert!(started.elapsed() < patience::seconds(10), "five answers that do not come, each for 1s");
        let started = Instant::now();
        for request in 0..1000 {
            assert!(admits(&quotas, &consumer(&request.to_string())).await);
        }
        assert!(started.elapsed() < patience::seconds(1), "{:?}", started.elapsed());
        assert!(metric(&counts, "weir_l7_quota_store_failures_total") >= 5.0);
        redis.freeze(false).unwrap();
        until_connected(&quotas, true).await;
        assert!(admits(&quotas, &consumer("late")).await);
    });
}
