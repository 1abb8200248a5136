//! A connection to one server, before anything is known of it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, RedisResult, Value, pipe};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::acknowledging::{Acknowledging, wait};
use super::bounded::{Bounded, Expected};
use super::connection::{ConnectError, REDIRECTION};
use super::settings::{Address, Credentials, Password, Settings};
use crate::tls_client::client_config;

/// A connection to one server.
pub(super) struct Link {
    pub(super) server: Server,
    /// The tasks that carry the questions; one ends with the connection, and all when this is dropped.
    pub(super) driver: JoinSet<()>,
}

/// A server, by a connection to it.
#[derive(Clone)]
pub(super) struct Server {
    asking: MultiplexedConnection,
    /// Hears of answers that are longer than their questions.
    expected: Expected,
    /// Which of the writes on it replicas have, if that matters.
    acknowledging: Option<Arc<Acknowledging>>,
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Which of the writes on its connection replicas of it have, if that matters.
    pub(super) acknowledging: Option<Arc<Acknowledging>>,
}

impl Server {
    /// Asks a question to which the answer may be longer by so many bytes.
    pub(super) async fn ask(&mut self, longer: u64, question: &Cmd) -> RedisResult<Answer> {
        if longer > 0 {
            self.expected.add(longer);
        }
        let value = self.asking.send_packed_command(question).await.and_then(Value::extract_error)?;
        Ok(Answer { value, acknowledging: self.acknowledging.clone() })
    }

    /// Whether the connection ended since the server said more than it was asked.
    pub(super) fn has_said_too_much(&self) -> bool {
        self.expected.is_exceeded()
    }

    /// Asks several questions at once.
    pub(super) async fn ask_all(&mut self, longer: u64, questions: &[Cmd]) -> RedisResult<Vec<RedisResult<Value>>> {
        self.expected.add(longer);
        let mut all = pipe();
        for question in questions {
            all.add_command(question.clone());
        }
        let answers = self.asking.send_packed_commands(&all, 0, questions.len()).await?;
        Ok(answers.into_iter().map(Value::extract_error).collect())
    }

    /// The same for keys that move to this server, which otherwise sends whoever asks for them to the one that still has the others.
    pub(super) async fn ask_early(&mut self, longer: u64, question: &Cmd) -> RedisResult<Answer> {
        self.expected.add(longer.saturating_add(REDIRECTION));
        let mut both = pipe();
        both.cmd("ASKING").add_command(question.clone());
        let mut value = Value::Nil;
        for answer in self.asking.send_packed_commands(&both, 0, 2).await? {
            value = answer.extract_error()?;
        }
        Ok(Answer { value, acknowledging: self.acknowledging.clone() })
    }
}

impl Link {
    /// Connects to a server that holds entries.
    pub(super) async fn open(settings: &Settings, address: &Address) -> Result<Self, ConnectError> {
        let info = info(&settings.credentials).set_protocol(ProtocolVersion::RESP3).set_db(settings.database.into());
        Self::with(settings, address, &settings.credentials, info).await
    }

    /// The same within a short time, for a server that is one of several, and is named where something goes wrong.
    pub(super) async fn open_one(settings: &Settings, address: &Address) -> Result<Self, ConnectError> {
        within(address, Self::open(settings, address)).await
    }

    /// Connects to a sentinel. Older ones speak the old protocol only.
    pub(super) async fn to_sentinel(
        settings: &Settings,
        address: &Address,
        credentials: &Credentials,
    ) -> Result<Self, ConnectError> {
        Self::with(settings, address, credentials, info(credentials).set_protocol(ProtocolVersion::RESP2)).await
    }

    async fn with(
        settings: &Settings,
        address: &Address,
        credentials: &Credentials,
        info: RedisConnectionInfo,
    ) -> Result<Self, ConnectError> {
        // Another server may have said the address.
        if settings.tls.is_none() && credentials.password.is_some() && !address.is_loopback() {
            return Err(ConnectError::Exposed);
        }
        let unreachable = ConnectError::Unreachable;
        let stream = TcpStream::connect((&*address.host, address.port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &settings.tls else { return Self::over(stream, settings, &info).await };
        // The system's own authorities are read from files, for which the connections of clients must not wait.
        let of_task = tls.clone();
        let config =
            tokio::task::spawn_blocking(move || client_config(&of_task.trust_anchors, of_task.identity.as_ref()));
        let config = config.await.map_err(|error| ConnectError::Tls(error.to_string()))?;
        let config = config.map_err(|error| ConnectError::Tls(error.to_string()))?;
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(address.host.to_string())
                .map_err(|_| ConnectError::Tls("its name is none that a certificate has".to_owned()))?,
        };
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        Self::over(connecting.await.map_err(|error| ConnectError::Tls(error.to_string()))?, settings, &info).await
    }

    async fn over<S>(stream: S, settings: &Settings, info: &RedisConnectionInfo) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Whoever asks has a limit of its own, and its place among those in flight.
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(settings.in_flight.max(1));
        let expected = Expected::default();
        let bounded = Bounded::new(stream, expected.clone());
        let (asking, driving) = MultiplexedConnection::new_with_config(info, bounded, config).await?;
        let mut driver = JoinSet::new();
        driver.spawn(driving);
        Ok(Self { server: Server { asking, expected, acknowledging: None }, driver })
    }

    /// Has the server say which of the writes on it replicas have, from here on, if that matters.
    pub(super) async fn acknowledge(&mut self, settings: &Settings) -> Result<(), ConnectError> {
        let (least, patience) = (settings.min_replicas, settings.patience());
        if least > 0 {
            // Whether the user may ask that is known now, and not only when something was written.
            self.server.ask(0, &wait(0, patience)).await?;
            let acknowledging = Arc::new(Acknowledging::default());
            let (of_task, asking) = (acknowledging.clone(), self.server.asking.clone());
            self.driver.spawn(async move { of_task.ask(asking, least, patience).await });
            self.server.acknowledging = Some(acknowledging);
        }
        Ok(())
    }
}

/// What is done with one server of several, within a short time.
pub(super) async fn within<T>(
    address: &Address,
    doing: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let done = timeout(EACH, doing).await.unwrap_or(Err(ConnectError::Silent));
    done.map_err(|error| error.at(address))
}

fn info(Credentials { username, password }: &Credentials) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        info = info.set_username(username);
    }
    if let Some(password) = password.as_ref().map(Password::as_str) {
        info = info.set_password(password);
    }
    info
}

/// How long one server of several is waited for: shorter than connecting may take, so that there is time for another.
const EACH: Duration = Duration::from_millis(500);
