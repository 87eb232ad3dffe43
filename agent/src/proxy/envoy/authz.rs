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
use tonic::{Code, Request, Response, Status, async_trait};

use super::ip;
use crate::{
    decision::{Decision, Verdict},
    proxy::{
        Surface,
        judge::{Judge, Seen},
    },
};

/// Headers that only we write; what a client has sent of them is taken away.
const OURS: [&str; 4] = ["x-weir-verdict", "x-weir-reason", "x-weir-score", "x-weir-would"];

pub(super) struct Authz {
    judge: Judge,
}

impl Authz {
    pub(super) fn new(judge: Judge) -> Self {
        Self { judge }
    }
}

#[async_trait]
impl Authorization for Authz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let AttributeContext { source, request, .. } = attributes;
        let http = request.and_then(|request| request.http).unwrap_or_default();
        let address = ip(source.as_ref().and_then(|source| source.address.as_ref()))
            .ok_or_else(|| Status::invalid_argument("the request has no source with an IP address"))?;
        let HttpRequest { headers, .. } = &http;
        let find = |name: &str| headers.get(name).map(String::as_str);
        let forwarded: Vec<&str> = find("x-forwarded-for").into_iter().collect();
        // Envoy tells one address: its downstream remote address, which is the peer unless its own
        // settings (use_remote_address, xff_num_trusted_hops, PROXY) make it the client behind one.
        // It is taken for the peer: where it is a trusted hop the header is walked; where it is the
        // client already, the walk ends at once. Whether it is direct cannot be told from here, so
        // bans in the kernel follow from access logs, which have both addresses.
        let seen = Seen {
            peer: Some(address),
            forwarded: &forwarded,
            method: &http.method,
            host: &http.host,
            path: &http.path,
            ..Seen::default()
        };
        let mut question = self.judge.request(&seen, find);
        question.client.direct = false;
        let decision = self.judge.decide(Surface::Grpc, &question).await;
        Ok(Response::new(answer(&decision)))
    }
}

fn answer(decision: &Decision) -> CheckResponse {
    let headers = decision.headers().into_iter().map(|(name, value)| header(name, value)).collect();
    let (code, response) = if decision.verdict == Verdict::Allow {
        // Headers that are added are set after those of the client are removed.
        let written: Vec<&str> = decision.headers().iter().map(|(name, _)| *name).collect();
        let headers_to_remove =
            OURS.into_iter().filter(|name| !written.contains(name)).map(str::to_owned).collect();
        let response = OkHttpResponse { headers, headers_to_remove, ..OkHttpResponse::default() };
        (Code::Ok, HttpResponse::OkResponse(response))
    } else {
        let status = Some(HttpStatus { code: decision.verdict.status().into() });
        (
            Code::PermissionDenied,
            HttpResponse::DeniedResponse(DeniedHttpResponse { status, headers, body: String::new() }),
        )
    };
    CheckResponse {
        status: Some(rpc::Status { code: code.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(metadata(decision)),
        http_response: Some(response),
    }
}

fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

/// For access logs and other filters, in the namespace `envoy.filters.http.ext_authz`.
fn metadata(decision: &Decision) -> Struct {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = [
        ("verdict", text(decision.verdict.as_str())),
        ("reason", text(&decision.why.to_string())),
        ("score", Value { kind: Some(Kind::NumberValue(decision.score)) }),
    ];
    Struct {
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<_, _>>(),
    }
}
