use std::{net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result};
use envoy_types::pb::envoy::{
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::ratelimit::v3::{
        RateLimitRequest, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use super::{grpc, load::Asker};

/// A connection of Envoy, as one of its threads has it.
struct Connection {
    runtime: Runtime,
    client: RateLimitServiceClient<Channel>,
}

pub(super) fn connect(socket: &Path) -> Result<Box<dyn Asker>> {
    let (runtime, channel) = grpc::channel(socket).context("connect to the rate limit service")?;
    Ok(Box::new(Connection { runtime, client: RateLimitServiceClient::new(channel) }))
}

impl Asker for Connection {
    fn ask(&mut self, client: Ipv4Addr) -> Result<bool> {
        let entry = Entry { key: "consumer".to_owned(), value: client.to_string() };
        let descriptor = RateLimitDescriptor { entries: vec![entry], ..RateLimitDescriptor::default() };
        let question = RateLimitRequest {
            domain: "bench".to_owned(),
            descriptors: vec![descriptor],
            ..RateLimitRequest::default()
        };
        let answer = self.runtime.block_on(self.client.should_rate_limit(question))?.into_inner();
        Ok(answer.overall_code() == Code::Ok)
    }
}
