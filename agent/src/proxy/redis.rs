use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisError, aio::MultiplexedConnection, cmd,
};
use tokio::{task::block_in_place, time::timeout};

use crate::{config::l7::Server, feed::source::http::secret};

/// How long a connection may take, with everything that belongs to it.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer in time")]
    Late,
    #[error("the secret in password_file {0}")]
    Secret(String),
}

/// Connects, and waits for a first answer; `patience` is how long any answer may take.
pub(super) async fn connect(
    server: &Server,
    patience: Duration,
) -> Result<MultiplexedConnection, Unreachable> {
    timeout(CONNECT_MAX, try_connect(server, patience)).await.map_err(|_| Unreachable::Late)?
}

async fn try_connect(server: &Server, patience: Duration) -> Result<MultiplexedConnection, Unreachable> {
    let mut info = server.url.as_str().into_connection_info()?;
    let mut about = info.redis_settings().clone();
    if let Some(user) = &server.user {
        about = about.set_username(user);
    }
    if let Some(file) = &server.password {
        // Anew at each attempt: passwords change.
        let (password, exposed) = block_in_place(|| secret::line(file)).map_err(Unreachable::Secret)?;
        if exposed {
            tracing::warn!(file = %file.display(), "others may read this secret; chmod 640 it");
        }
        about = about.set_password(password);
    }
    info = info.set_redis_settings(about);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(patience));
    let mut connection = Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?;
    cmd("PING").query_async::<String>(&mut connection).await?;
    Ok(connection)
}
