use std::sync::Arc;

use envoy_types::pb::envoy::{
    data::accesslog::v3::{
        AccessLogCommon, AccessLogType, HttpAccessLogEntry, response_flags::unauthorized::Reason,
    },
    service::accesslog::v3::{
        StreamAccessLogsMessage, StreamAccessLogsResponse, access_log_service_server::AccessLogService,
        stream_access_logs_message::LogEntries,
    },
};
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use super::ip;
use crate::proxy::{
    Surface,
    judge::{Feedback, Judge, Seen},
};

/// Streams that are read at a time. Envoy has one for each of its threads and each of its logs.
const STREAMS: usize = 512;

/// What became of requests.
#[derive(Debug)]
pub(super) struct Logs {
    judge: Judge,
    places: Arc<Semaphore>,
    stopped: watch::Receiver<()>,
}

impl Logs {
    pub(super) fn new(judge: Judge, stopped: watch::Receiver<()>) -> Self {
        Self { judge, places: Arc::new(Semaphore::new(STREAMS)), stopped }
    }

    fn take(&self, message: StreamAccessLogsMessage) {
        let entries = match message.log_entries {
            Some(LogEntries::HttpLogs(logs)) => logs.log_entry,
            // A connection has no status.
            Some(LogEntries::TcpLogs(_)) | None => return,
        };
        for feedback in entries.iter().filter_map(|entry| read(&self.judge, entry)) {
            self.judge.feedback(Surface::Grpc, feedback);
        }
    }
}

#[tonic::async_trait]
impl AccessLogService for Logs {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let full = |_| Status::resource_exhausted("too many streams of access logs");
        let _place = self.places.try_acquire().map_err(full)?;
        let mut stream = request.into_inner();
        let mut stopped = self.stopped.clone();
        // Envoy never ends a stream by itself; it opens another when this one ends.
        loop {
            let message = tokio::select! {
                message = stream.message() => message?,
                _ = stopped.changed() => None,
            };
            let Some(message) = message else { return Ok(Response::new(StreamAccessLogsResponse {})) };
            self.take(message);
        }
    }
}

/// Reads what became of a request; nothing: it is not over, it was not answered, or nobody knows whose
/// it was.
fn read(judge: &Judge, entry: &HttpAccessLogEntry) -> Option<Feedback> {
    let common = entry.common_properties.as_ref()?;
    // With `log_type` unknown to Envoys before 1.27, all are at the end.
    if !matches!(common.access_log_type(), AccessLogType::NotSet | AccessLogType::DownstreamEnd) {
        return None;
    }
    let response = entry.response.as_ref()?;
    let status = response.response_code.as_ref()?.value;
    let forwarded = entry.request.as_ref().map_or("", |request| &request.forwarded_for);
    let seen = Seen {
        // Whose packets they are, whatever headers and the PROXY protocol say.
        peer: ip(common.downstream_direct_remote_address.as_ref()),
        client: Some(ip(common.downstream_remote_address.as_ref())?),
        forwarded: &[forwarded],
        ..Seen::default()
    };
    Some(Feedback {
        client: judge.client(&seen),
        status: u16::try_from(status).ok().filter(|status| *status > 0)?,
        ours: is_ours(&response.response_code_details, common),
    })
}

/// Returns true for a refusal that we are the cause of: to count it would make one ban the reason of the
/// next. Others that Envoy asks in the same way cannot be told apart, and are not counted either.
fn is_ours(details: &str, common: &AccessLogCommon) -> bool {
    match details {
        "ext_authz_denied" | "ext_authz_error" | "request_rate_limited" | "rate_limiter_error" => true,
        // The flag stands for Envoy's own limits too, and these are not ours.
        "local_rate_limited" => false,
        _ => common.response_flags.as_ref().is_some_and(|flags| {
            let unauthorized = flags.unauthorized_details.as_ref();
            flags.rate_limited
                || unauthorized.is_some_and(|details| details.reason() == Reason::ExternalService)
        }),
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::data::accesslog::v3::{ResponseFlags, response_flags::Unauthorized};

    use super::*;

    #[test]
    fn our_own_refusals_are_known() {
        let flags = |rate_limited, reason: Option<Reason>| AccessLogCommon {
            response_flags: Some(ResponseFlags {
                rate_limited,
                unauthorized_details: reason.map(|reason| Unauthorized { reason: reason.into() }),
                ..ResponseFlags::default()
            }),
            ..AccessLogCommon::default()
        };
        let nothing = AccessLogCommon::default();
        for (details, common, ours) in [
            ("via_upstream", &nothing, false),
            ("via_upstream", &flags(false, Some(Reason::Unspecified)), false),
            ("ext_authz_denied", &nothing, true),
            ("", &flags(false, Some(Reason::ExternalService)), true),
            ("request_rate_limited", &nothing, true),
            ("", &flags(true, None), true),
            ("local_rate_limited", &flags(true, None), false),
        ] {
            assert_eq!(is_ours(details, common), ours, "{details}");
        }
    }
}
