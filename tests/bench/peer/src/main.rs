//! Whom weir's answers to Envoy are compared with, on a Unix socket: `ext_authz` that lets everything
//! pass at once, which is what the protocol alone takes, and the rate limit service over the library
//! Limitador, as its own server has it (`descriptors[0]`, counters in memory).

use std::{collections::HashMap, env};

use anyhow::{Context as _, Result, anyhow};
use envoy_types::pb::{
    envoy::service::{
        auth::v3::{
            CheckRequest, CheckResponse, OkHttpResponse,
            authorization_server::{Authorization, AuthorizationServer},
            check_response::HttpResponse,
        },
        ratelimit::v3::{
            RateLimitRequest, RateLimitResponse,
            rate_limit_response::Code,
            rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
        },
    },
    google::rpc,
};
use limitador::{
    RateLimiter,
    limit::{Context, Limit, Namespace},
};
use tokio::{net::UnixListener, runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// As the agent that is measured has it.
const THREADS: usize = 2;
/// The limit of the agent's configuration: requests a second of each consumer, and consumers.
const REQUESTS: u64 = 100_000;
const CONSUMERS: u64 = 100_000;

fn main() -> Result<()> {
    let path = env::args().nth(1).context("tell it the path of a socket")?;
    let runtime = runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let incoming = UnixListenerStream::new(UnixListener::bind(path)?);
        let served = Server::builder()
            .add_service(AuthorizationServer::new(Passes))
            .add_service(RateLimitServiceServer::new(Limits::new()?));
        Ok(served.serve_with_incoming(incoming).await?)
    })
}

struct Passes;

#[tonic::async_trait]
impl Authorization for Passes {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}

struct Limits(RateLimiter);

impl Limits {
    fn new() -> Result<Self> {
        let limiter = RateLimiter::new(CONSUMERS);
        let consumer = "descriptors[0].consumer".try_into().map_err(|error| anyhow!("{error:?}"))?;
        limiter.add_limit(Limit::new("bench", REQUESTS, 1, vec![], vec![consumer]));
        Ok(Self(limiter))
    }
}

#[tonic::async_trait]
impl RateLimitService for Limits {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let RateLimitRequest { domain, descriptors, hits_addend } = request.into_inner();
        let entries = |descriptor: envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor| {
            descriptor.entries.into_iter().map(|entry| (entry.key, entry.value)).collect::<HashMap<_, _>>()
        };
        let mut context = Context::default();
        context.list_binding("descriptors".to_owned(), descriptors.into_iter().map(entries).collect());
        let hits = u64::from(hits_addend.max(1));
        let checked = self.0.check_rate_limited_and_update(&Namespace::from(domain), &context, hits);
        let checked = checked.map_err(|error| Status::unavailable(error.to_string()))?;
        let code = if checked.limited { Code::OverLimit } else { Code::Ok };
        Ok(Response::new(RateLimitResponse { overall_code: code.into(), ..RateLimitResponse::default() }))
    }
}
