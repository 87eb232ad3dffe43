use std::time::Duration;

use envoy_types::pb::{
    envoy::{
        config::core::v3::HeaderValue,
        extensions::common::ratelimit::v3::RateLimitDescriptor,
        service::ratelimit::v3::{
            RateLimitRequest, RateLimitResponse,
            rate_limit_response::{Code, DescriptorStatus, RateLimit, rate_limit::Unit},
            rate_limit_service_server::RateLimitService,
        },
    },
    google::protobuf,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::PATIENCE;
use crate::{
    decision::{
        Decision, Verdict, Why,
        quota::{Charged, Descriptor},
        verdict::QuotaState,
    },
    proxy::judge::Judge,
};

/// Whether a counter is used up.
#[derive(Debug)]
pub(super) struct Limits {
    judge: Judge,
}

impl Limits {
    pub(super) fn new(judge: Judge) -> Self {
        Self { judge }
    }
}

#[tonic::async_trait]
impl RateLimitService for Limits {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let RateLimitRequest { domain, descriptors, hits_addend } = request.into_inner();
        let descriptors: Vec<Descriptor> = descriptors.into_iter().map(read).collect();
        let asked = self.judge.quota(&domain, &descriptors, hits_addend);
        let late = |_| Status::deadline_exceeded("no answer in time");
        Ok(Response::new(answer(&timeout(PATIENCE, asked).await.map_err(late)?)))
    }
}

fn read(descriptor: RateLimitDescriptor) -> Descriptor {
    let hits = descriptor.hits_addend.map(|hits| u32::try_from(hits.value).unwrap_or(u32::MAX));
    Descriptor {
        entries: descriptor.entries.into_iter().map(|entry| (entry.key, entry.value)).collect(),
        // What Envoy gives back was charged when it was asked for: it stays charged.
        hits: if descriptor.is_negative_hits { Some(0) } else { hits },
    }
}

/// Answers for each descriptor in turn, and for all together.
fn answer(answers: &[Charged]) -> RateLimitResponse {
    let over = answers.iter().any(refuses);
    RateLimitResponse {
        overall_code: code(over).into(),
        statuses: answers.iter().map(status).collect(),
        response_headers_to_add: refused(answers).map(|decision| headers(&decision)).unwrap_or_default(),
        ..RateLimitResponse::default()
    }
}

fn refuses(charged: &Charged) -> bool {
    charged.answer.over && !charged.answer.shadow
}

const fn code(over: bool) -> Code {
    if over { Code::OverLimit } else { Code::Ok }
}

fn status(charged: &Charged) -> DescriptorStatus {
    let code = code(refuses(charged)).into();
    let Some(QuotaState { name, limit, window, remaining, reset }) = &charged.answer.state else {
        return DescriptorStatus { code, ..DescriptorStatus::default() };
    };
    let limit = RateLimit {
        name: name.to_string(),
        requests_per_unit: u32::try_from(*limit).unwrap_or(u32::MAX),
        unit: unit(*window).into(),
    };
    DescriptorStatus {
        code,
        current_limit: Some(limit),
        limit_remaining: u32::try_from(*remaining).unwrap_or(u32::MAX),
        duration_until_reset: Some(duration(*reset)),
        quota: None,
    }
}

/// Envoy's name of a window of so many seconds; others have none, and headers of Envoy leave it out.
const fn unit(window: u64) -> Unit {
    match window {
        1 => Unit::Second,
        60 => Unit::Minute,
        3600 => Unit::Hour,
        86_400 => Unit::Day,
        604_800 => Unit::Week,
        _ => Unit::Unknown,
    }
}

fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// The refusal of the quota that lasts the longest: before that it makes no sense to come again.
fn refused(answers: &[Charged]) -> Option<Decision> {
    let refusing = answers.iter().filter(|charged| refuses(charged));
    let Charged { answer, name, retry_after } = refusing.max_by_key(|charged| charged.retry_after)?;
    let why = Why::Quota(name.clone().unwrap_or_default());
    let (retry_after, quota) = (*retry_after, answer.state.clone());
    Some(Decision { retry_after, quota, ..Decision::of(Verdict::Throttle, why) })
}

fn headers(decision: &Decision) -> Vec<HeaderValue> {
    let header =
        |(name, value): (&str, _)| HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() };
    decision.headers().into_iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decision::quota::QuotaAnswer;

    fn quota(name: &str, window: u64, remaining: u64, reset: u64) -> Charged {
        let name: Arc<str> = name.into();
        let reset = Duration::from_secs(reset);
        let state = QuotaState { name: Arc::clone(&name), limit: 10, window, remaining, reset };
        let over = remaining == 0;
        let answer = QuotaAnswer { over, state: Some(state), ..QuotaAnswer::default() };
        Charged { answer, name: Some(name), retry_after: over.then_some(reset) }
    }

    #[test]
    fn one_status_for_each_descriptor_in_turn() {
        let answers = [quota("a", 60, 3, 7), Charged::default(), quota("b", 10, 0, 9), quota("c", 1, 0, 1)];
        let answer = answer(&answers);
        assert_eq!(answer.overall_code(), Code::OverLimit);
        let codes: Vec<_> = answer.statuses.iter().map(DescriptorStatus::code).collect();
        assert_eq!(codes, [Code::Ok, Code::Ok, Code::OverLimit, Code::OverLimit]);
        let units: Vec<_> =
            answer.statuses.iter().map(|s| s.current_limit.as_ref().map(RateLimit::unit)).collect();
        assert_eq!(units, [Some(Unit::Minute), None, Some(Unit::Unknown), Some(Unit::Second)]);
        assert_eq!(answer.statuses[0].limit_remaining, 3);
        assert_eq!(answer.statuses[0].duration_until_reset.unwrap().seconds, 7);
        let header = |name| answer.response_headers_to_add.iter().find(|h| h.key == name).map(|h| &*h.value);
        assert_eq!(header("retry-after"), Some("9"));
        assert_eq!(header("x-weir-reason"), Some("quota:b"));
    }

    #[test]
    fn a_quota_in_shadow_mode_refuses_nothing() {
        let mut shadow = quota("a", 60, 0, 7);
        shadow.answer.shadow = true;
        let answer = answer(&[shadow]);
        assert_eq!((answer.overall_code(), answer.statuses[0].code()), (Code::Ok, Code::Ok));
        assert!(answer.response_headers_to_add.is_empty());
    }

    #[test]
    fn what_is_given_back_is_not_charged() {
        let hits = |value, is_negative_hits| {
            let hits_addend = Some(protobuf::UInt64Value { value });
            read(RateLimitDescriptor { hits_addend, is_negative_hits, ..RateLimitDescriptor::default() }).hits
        };
        assert_eq!(hits(3, false), Some(3));
        assert_eq!(hits(1 << 40, false), Some(u32::MAX));
        assert_eq!(hits(3, true), Some(0));
    }
}
