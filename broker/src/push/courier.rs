//! Takes a sealed message to a push service: one connection, one request, one status. What the
//! service says beyond its status is not read, and a redirect is not followed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::endpoint::{Endpoint, EndpointError, reachable};

/// How long a push service keeps a message for a browser that is off. Four hours: who comes later
/// looks at the dashboard.
const TTL_S: u32 = 4 * 3_600;
/// What may be read of an answer: enough for any header, and little for whoever sends without end.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// The push service is not found.
    #[error("its host is not found: {0}")]
    Unknown(io::Error),
    /// It has an address that nothing is sent to.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// It cannot be connected to.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// It does not speak HTTP as expected.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// It takes too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// It declines.
    #[error("it answers {0}")]
    Declined(StatusCode),
    /// The subscription is over.
    #[error("it answers {0}: the subscription is over")]
    Gone(StatusCode),
}

/// Knows the way to push services.
pub(super) struct Courier {
    tls: TlsConnector,
    timeout: Duration,
    allow_loopback: bool,
}

impl Courier {
    /// A courier that gives up after `timeout`.
    pub(super) fn new(timeout: Duration, allow_loopback: bool) -> Courier {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Courier::trusting(roots, timeout, allow_loopback)
    }

    fn trusting(roots: RootCertStore, timeout: Duration, allow_loopback: bool) -> Courier {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Courier { tls: TlsConnector::from(Arc::new(config)), timeout, allow_loopback }
    }

    /// Whether push services may be on this machine.
    pub(super) fn allows_loopback(&self) -> bool {
        self.allow_loopback
    }

    /// Take `body` to `endpoint`.
    pub(super) async fn deliver(
        &self,
        endpoint: &Endpoint,
        authorization: &str,
        body: Vec<u8>,
    ) -> Result<(), CourierError> {
        let delivered = timeout(self.timeout, self.send(endpoint, authorization, body));
        let status = delivered.await.unwrap_or(Err(CourierError::Late(self.timeout)))?;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(CourierError::Gone(status)),
            status => Err(CourierError::Declined(status)),
        }
    }

    /// The addresses of the host of `endpoint`, if all of them may be sent to.
    pub(super) async fn addresses(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Vec<SocketAddr>, CourierError> {
        let found = timeout(self.timeout, lookup_host((endpoint.host(), endpoint.port()))).await;
        let found = found.map_err(|_| CourierError::Late(self.timeout))?;
        let found: Vec<SocketAddr> = found.map_err(CourierError::Unknown)?.collect();
        // A name must not be a way to this machine: only who names its address means it.
        let allow_loopback = self.allow_loopback && !endpoint.is_name();
        for address in &found {
            reachable(address.ip(), allow_loopback)?;
        }
        Ok(found)
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        authorization: &str,
        body: Vec<u8>,
    ) -> Result<StatusCode, CourierError> {
        // Looked up once: what was checked is what is connected to.
        let addresses = self.addresses(endpoint).await?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(CourierError::Connect)?;
        let request = Request::post(endpoint.target())
            .header(header::HOST, endpoint.authority())
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_ENCODING, "aes128gcm")
            .header("ttl", TTL_S)
            .header(header::CONNECTION, "close")
            .body(Body::from(body))
            .expect("a path that was part of a URL, and headers of ours");
        if !endpoint.is_https() {
            return status(stream, request).await;
        }
        let name = ServerName::try_from(endpoint.host().to_owned());
        let name = name.map_err(|_| EndpointError::NotUrl)?;
        let stream = self.tls.connect(name, stream).await.map_err(CourierError::Connect)?;
        status(stream, request).await
    }
}

/// The status that `request` is answered with.
async fn status<S>(stream: S, request: Request<Body>) -> Result<StatusCode, CourierError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.max_buf_size(ANSWER_BYTES_MAX);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => Ok(answer?.status()),
        // It may end with the answer already handed over.
        ended = &mut connection => {
            ended?;
            Ok(answer.await?.status())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    /// Of a push service at 127.0.0.1 that only this test trusts.
    const CERTIFICATE: &[u8] = include_bytes!("../../testdata/push/certificate.pem");
    const KEY: &[u8] = include_bytes!("../../testdata/push/key.pem");
    /// Far more than anything here takes; only a failure waits for it.
    const DEADLINE: Duration = Duration::from_secs(20);

    fn certificate() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
    }

    /// A push service that takes whatever comes. Gives its address.
    async fn service() -> SocketAddr {
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"sealed") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                stream.write_all(b"HTTP/1.1 201 Created\r\n\r\n").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_push_service_is_trusted_by_its_certificate() {
        let url = format!("https://{}/x", service().await);
        let endpoint = Endpoint::parse(&url, true).unwrap();
        let stranger = Courier::new(DEADLINE, true);
        let refused = stranger.deliver(&endpoint, "", b"sealed".to_vec()).await.unwrap_err();
        assert!(matches!(refused, CourierError::Connect(_)), "{refused}");
        let mut roots = RootCertStore::empty();
        roots.add(certificate()).unwrap();
        let friend = Courier::trusting(roots, DEADLINE, true);
        friend.deliver(&endpoint, "", b"sealed".to_vec()).await.unwrap();
    }

    #[tokio::test]
    async fn a_push_service_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let endpoint = Endpoint::parse(&url, true).unwrap();
        let courier = Courier::new(Duration::from_millis(1), true);
        let late = courier.deliver(&endpoint, "", Vec::new()).await.unwrap_err();
        assert!(matches!(late, CourierError::Late(_)), "{late}");
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_no_way_to_it() {
        for allow_loopback in [false, true] {
            let courier = Courier::new(DEADLINE, allow_loopback);
            // However it is written, as resolvers understand it.
            for url in ["https://localhost/", "https://0x7f.1/", "https://2130706433/"] {
                let endpoint = Endpoint::parse(url, allow_loopback).unwrap();
                let refused = courier.deliver(&endpoint, "", Vec::new()).await.unwrap_err();
                let is_refused = matches!(
                    refused,
                    CourierError::Endpoint(EndpointError::NotPublic(_)) | CourierError::Unknown(_)
                );
                assert!(is_refused, "{url}: {refused}");
            }
        }
    }
}
