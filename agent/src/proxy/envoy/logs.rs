use envoy_types::pb::envoy::{
    data::accesslog::v3::{HttpAccessLogEntry, ResponseFlags},
    service::accesslog::v3::{
        StreamAccessLogsMessage, StreamAccessLogsResponse, access_log_service_server::AccessLogService,
        stream_access_logs_message::LogEntries,
    },
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::ip;
use crate::proxy::{
    Surface,
    judge::{Feedback, Judge, Seen},
};

/// How the details of a response begin that we, or the rate limit service, have caused.
const OURS: [&str; 2] = ["ext_authz_denied", "request_rate_limited"];

pub(super) struct Logs {
    judge: Judge,
}

impl Logs {
    pub(super) fn new(judge: Judge) -> Self {
        Self { judge }
    }

    fn take(&self, entry: &HttpAccessLogEntry) {
        let (Some(common), Some(response)) = (&entry.common_properties, &entry.response) else { return };
        let remote = ip(common.downstream_remote_address.as_ref());
        let direct = ip(common.downstream_direct_remote_address.as_ref());
        let (Some(code), Some(client)) = (response.response_code, remote.or(direct)) else { return };
        let Ok(status) = u16::try_from(code.value) else { return };
        let forwarded: Vec<&str> = entry
            .request
            .iter()
            .map(|request| request.forwarded_for.as_str())
            .filter(|value| !value.is_empty())
            .collect();
        // Where both are one, a hop that is trusted may still have written who is behind it.
        let seen = match direct {
            Some(peer) if peer != client => {
                Seen { peer: Some(peer), client: Some(client), ..Seen::default() }
            }
            Some(_) | None => Seen { peer: Some(client), forwarded: &forwarded, ..Seen::default() },
        };
        let flags = common.response_flags.as_ref();
        let ours = flags.is_some_and(refused)
            || OURS.iter().any(|prefix| response.response_code_details.starts_with(prefix));
        let client = self.judge.client(&seen);
        self.judge.feedback(Surface::Grpc, Feedback { client, status, ours });
    }
}

/// Returns true for what a filter of ours has refused.
fn refused(flags: &ResponseFlags) -> bool {
    flags.rate_limited || flags.unauthorized_details.is_some()
}

#[async_trait]
impl AccessLogService for Logs {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            if let Some(LogEntries::HttpLogs(entries)) = message.log_entries {
                entries.log_entry.iter().for_each(|entry| self.take(entry));
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}
