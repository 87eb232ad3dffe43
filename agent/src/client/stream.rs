use std::{future::poll_fn, ops::ControlFlow, pin::Pin, time::Duration};

use axum::body::Body;
use hyper::{Method, StatusCode, body::Body as _};
use tokio::time::timeout;

use super::{Client, ClientError, PATIENCE, refusal, request, talk};

/// Longest line: an event has some hundred bytes, and names of lists.
const LINE_BYTES_MAX: usize = 1 << 20;

impl Client {
    /// Asks for a page whose answer comes line by line, and hands each to `take`, empty ones too, until
    /// that breaks or the answer ends.
    ///
    /// # Errors
    /// [`ClientError`] also where nothing comes for as long as `silence`.
    pub(crate) fn lines(
        &mut self,
        path: &str,
        silence: Duration,
        mut take: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let requests = &mut self.requests;
        self.runtime.block_on(async {
            let asked = async {
                requests.ready().await.map_err(talk)?;
                requests.send_request(request(&Method::GET, path, Body::empty())?).await.map_err(talk)
            };
            let (head, mut body) =
                timeout(PATIENCE, asked).await.map_err(|_elapsed| ClientError::Late(PATIENCE))??.into_parts();
            let mut kept = Vec::new();
            loop {
                let frame = timeout(silence, poll_fn(|context| Pin::new(&mut body).poll_frame(context)));
                let Some(frame) = frame.await.map_err(|_elapsed| ClientError::Late(silence))? else { break };
                // Trailers have nothing for us.
                let Ok(data) = frame.map_err(talk)?.into_data() else { continue };
                kept.extend_from_slice(&data);
                if head.status != StatusCode::OK {
                    continue;
                }
                while let Some(end) = kept.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = kept.drain(..=end).collect();
                    if take(String::from_utf8_lossy(&line).trim_end()).is_break() {
                        return Ok(());
                    }
                }
                if kept.len() > LINE_BYTES_MAX {
                    return Err(talk("a line without an end"));
                }
            }
            if head.status == StatusCode::OK { Ok(()) } else { Err(refusal(head.status, &kept)) }
        })
    }
}
