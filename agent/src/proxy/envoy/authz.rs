use std::collections::HashMap;

use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
            attribute_context::HttpRequest, authorization_server::Authorization,
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{Struct, Value, value::Kind},
        rpc,
    },
};
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

use super::{PATIENCE, ip};
use crate::{
    decision::{self, Decision, Verdict},
    proxy::{
        Surface,
        judge::{Judge, Seen},
    },
};

/// What begins so in a request is ours: a client that sends it wants to deceive those behind Envoy.
const OURS: &str = "x-weir-";
/// What Envoy's configuration adds to the call, for what a question does not contain: who is connected
/// to Envoy, and the fingerprint of its TLS.
const PEER: &str = "x-weir-peer";
const TLS: &str = "x-weir-tls";
/// How Envoy says that something is not there.
const NOTHING: &str = "-";
/// What names the route among what Envoy's configuration adds to a question.
const ROUTE: &str = "route";

/// Whether a request may pass.
#[derive(Debug)]
pub(super) struct Authz {
    judge: Judge,
}

impl Authz {
    pub(super) fn new(judge: Judge) -> Self {
        Self { judge }
    }
}

#[tonic::async_trait]
impl Authorization for Authz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let (metadata, _, check) = request.into_parts();
        let attributes = check.attributes.unwrap_or_default();
        let request = read(&self.judge, &metadata, &attributes);
        // Envoy lets pass or not when there is an error, as it is told.
        let late = |_| Status::deadline_exceeded("no decision in time");
        let decision = timeout(PATIENCE, self.judge.decide(Surface::Grpc, &request)).await.map_err(late)?;
        Ok(Response::new(answer(&decision, &Headers::of(&attributes))))
    }
}

/// Reads what is asked about.
///
/// The source of a question is Envoy's word about the client: who is connected, or, as it is configured,
/// what X-Forwarded-For, the PROXY protocol or another header says. Nothing in the question tells these
/// apart: an Envoy that believes a forged X-Forwarded-For and one that has itself written it look the
/// same. So the source is never taken for the sender of the packets, unless the configuration has Envoy
/// add to the call who that is; else anybody could have a proxy or a CDN banned in the kernel.
fn read(judge: &Judge, metadata: &MetadataMap, attributes: &AttributeContext) -> decision::Request {
    let headers = Headers::of(attributes);
    let nothing = HttpRequest::default();
    let http = http(attributes).unwrap_or(&nothing);
    let forwarded: Vec<&str> = headers.all("x-forwarded-for").collect();
    let added = |name| metadata.get(name)?.to_str().ok().filter(|value| !matches!(*value, "" | NOTHING));
    // Of a connection without HTTP there is only this.
    let sni = attributes.tls_session.as_ref().map_or("", |session| &session.sni);
    let seen = Seen {
        peer: added(PEER).and_then(decision::client::parse),
        client: attributes.source.as_ref().and_then(|source| ip(source.address.as_ref())),
        forwarded: &forwarded,
        method: &http.method,
        host: if http.host.is_empty() { sni } else { &http.host },
        path: &http.path,
        route: attributes.context_extensions.get(ROUTE).map(String::as_str),
        tls: added(TLS),
    };
    judge.request(&seen, |name| headers.all(name).next())
}

fn http(attributes: &AttributeContext) -> Option<&HttpRequest> {
    attributes.request.as_ref()?.http.as_ref()
}

/// Headers of a request, as Envoy gives them: of each name the values together, or, with
/// `encode_raw_headers`, each alone. Names are in lower case.
struct Headers<'a> {
    together: Option<&'a HashMap<String, String>>,
    alone: &'a [HeaderValue],
}

impl<'a> Headers<'a> {
    fn of(attributes: &'a AttributeContext) -> Self {
        let http = http(attributes);
        let alone = http.and_then(|http| http.header_map.as_ref()).map_or(&[][..], |map| &map.headers);
        Self { together: http.map(|http| &http.headers), alone }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let together = self.together.and_then(|headers| headers.get(name)).map(String::as_str);
        let alone = self.alone.iter().filter(move |header| header.key == name).filter_map(|header| {
            if header.raw_value.is_empty() {
                Some(&*header.value)
            } else {
                str::from_utf8(&header.raw_value).ok()
            }
        });
        together.into_iter().chain(alone)
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        let together = self.together.into_iter().flat_map(HashMap::keys).map(String::as_str);
        together.chain(self.alone.iter().map(|header| &*header.key))
    }
}

/// Says what was decided.
fn answer(decision: &Decision, asked: &Headers<'_>) -> CheckResponse {
    let headers = decision.headers();
    let code = match decision.verdict {
        Verdict::Allow => Code::Ok,
        Verdict::Throttle => Code::ResourceExhausted,
        Verdict::Challenge | Verdict::Deny => Code::PermissionDenied,
    };
    let response = if decision.verdict == Verdict::Allow {
        let mut remove: Vec<_> = asked.names().filter(|name| name.starts_with(OURS)).collect();
        remove.retain(|name| !headers.iter().any(|(set, _)| set == name));
        // The client may know its quota; the rest is for those behind Envoy.
        let (upstream, client): (Vec<_>, Vec<_>) =
            headers.into_iter().partition(|(name, _)| name.starts_with(OURS));
        HttpResponse::OkResponse(OkHttpResponse {
            headers: upstream.into_iter().map(set).collect(),
            headers_to_remove: remove.into_iter().map(str::to_owned).collect(),
            response_headers_to_add: client.into_iter().map(set).collect(),
            ..OkHttpResponse::default()
        })
    } else {
        HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: decision.verdict.status().into() }),
            headers: headers.into_iter().map(set).collect(),
            body: String::new(),
        })
    };
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(metadata(decision)),
        http_response: Some(response),
    }
}

/// What access logs and filters behind this one find under `envoy.filters.http.ext_authz`.
fn metadata(decision: &Decision) -> Struct {
    let text = |text: String| Some(Kind::StringValue(text));
    let mut fields = vec![
        ("verdict", text(decision.verdict.as_str().to_owned())),
        ("reason", text(decision.why.to_string())),
        ("score", Some(Kind::NumberValue(decision.score))),
    ];
    if let Some((verdict, why)) = &decision.would {
        fields.push(("would", text(format!("{} {why}", verdict.as_str()))));
    }
    let field = |(name, kind): (&str, _)| (name.to_owned(), Value { kind });
    Struct { fields: fields.into_iter().map(field).collect() }
}

/// A header that replaces what a client has sent under that name.
fn set((name, value): (&str, String)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decision::{Why, verdict::QuotaState};

    fn asked(headers: &[(&str, &str)], raw: bool) -> AttributeContext {
        let header = |(name, value): &(&str, &str)| HeaderValue {
            key: (*name).to_owned(),
            value: String::new(),
            raw_value: value.as_bytes().to_vec(),
        };
        let mut http = HttpRequest::default();
        if raw {
            http.header_map = Some(envoy_types::pb::envoy::config::core::v3::HeaderMap {
                headers: headers.iter().map(header).collect(),
            });
        } else {
            http.headers =
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        }
        let request = envoy_types::pb::envoy::service::auth::v3::attribute_context::Request {
            time: None,
            http: Some(http),
        };
        AttributeContext { request: Some(request), ..AttributeContext::default() }
    }

    fn names(headers: &[HeaderValueOption]) -> Vec<&str> {
        headers.iter().map(|option| &*option.header.as_ref().unwrap().key).collect()
    }

    #[test]
    fn what_a_client_says_in_our_name_is_removed() {
        let quota = QuotaState {
            name: "api".into(),
            limit: 10,
            window: 60,
            remaining: 4,
            reset: Duration::from_secs(9),
        };
        let decision = Decision { quota: Some(quota), ..Decision::allow(Why::Clean) };
        for raw in [false, true] {
            let attributes =
                asked(&[("x-weir-verdict", "allow"), ("x-weir-partner", "yes"), ("x-a", "")], raw);
            let Some(HttpResponse::OkResponse(ok)) =
                answer(&decision, &Headers::of(&attributes)).http_response
            else {
                unreachable!("it passes")
            };
            assert_eq!(ok.headers_to_remove, ["x-weir-partner"]);
            assert_eq!(names(&ok.headers), ["x-weir-verdict", "x-weir-reason", "x-weir-score"]);
            assert_eq!(names(&ok.response_headers_to_add), ["ratelimit-policy", "ratelimit"]);
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let decision = Decision {
            retry_after: Some(Duration::from_millis(6500)),
            ..Decision::of(Verdict::Throttle, Why::Quota("api".into()))
        };
        let answer = answer(&decision, &Headers::of(&AttributeContext::default()));
        assert_eq!(answer.status.unwrap().code, i32::from(Code::ResourceExhausted));
        let reason = &answer.dynamic_metadata.unwrap().fields["reason"];
        assert_eq!(reason.kind, Some(Kind::StringValue("quota:api".to_owned())));
        let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else {
            unreachable!("it is refused")
        };
        assert_eq!(denied.status.unwrap().code, 429);
        let retry = denied.headers.last().unwrap().header.as_ref().unwrap();
        assert_eq!((&*retry.key, &*retry.value), ("retry-after", "7"));
    }
}
