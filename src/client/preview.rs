//! A machine seen from outside: its ports, and SSH. Source: PROTOCOL.md section 3, "Operations".

use std::time::Duration;

use super::machine::Machine;
use super::single::Single;
use crate::core::http;
use crate::core::previews::Request;
use crate::transport::{Decoder, Transport};

impl<T: Transport> Machine<T> {
    /// URLs of a port with a token in them.
    pub fn preview_url(&self, port: u16, timeout: Option<Duration>) -> Single<T> {
        let under = format!("/ports/{port}/preview-url");
        let call = self.on("getPreviewUrl", "GET", &under, Decoder::PreviewUrl, timeout);
        self.single(call)
    }

    /// The same, for as long as the caller says.
    pub fn signed_preview_url(&self, port: u16, request: &Request) -> Single<T> {
        let under = format!("/ports/{port}/signed-preview-url");
        self.post("createSignedPreviewUrl", &under, Decoder::PreviewUrl, request)
    }

    /// What a reverse proxy of the caller needs: the tokens go into headers.
    pub fn preview_proxy_target(&self, port: u16, request: &Request) -> Single<T> {
        let under = format!("/ports/{port}/preview-proxy-target");
        self.post(
            "createPreviewProxyTarget",
            &under,
            Decoder::PreviewProxyTarget,
            request,
        )
    }

    /// Lets the server look until a service answers: one request, however long it takes. That it never does is no error.
    pub fn wait_for_preview(&self, port: u16, request: &Request) -> Single<T> {
        let under = format!("/ports/{port}/readiness");
        self.post(
            "checkPreviewReadiness",
            &under,
            Decoder::PreviewReadiness,
            request,
        )
    }

    /// Lets the holder of a key in by SSH.
    pub fn ssh_access(&self, request: &Request) -> Single<T> {
        self.post("createSshAccess", "/ssh-access", Decoder::SshAccess, request)
    }

    /// What was given out, of one port or of all.
    pub fn preview_urls(&self, port: Option<u16>, timeout: Option<Duration>) -> Single<T> {
        let mut call = self.on(
            "listPreviewUrls",
            "GET",
            "/preview-urls",
            Decoder::PreviewGrants,
            timeout,
        );
        if let Some(port) = port {
            call.path = http::with_query(&call.path, &[("port", port.to_string())]);
        }
        self.single(call)
    }

    /// Takes it back.
    pub fn revoke_preview_url(&self, grant: &str, timeout: Option<Duration>) -> Single<T> {
        let under = format!("/preview-urls/{}", http::encode(grant));
        let call = self.on(
            "revokePreviewUrl",
            "DELETE",
            &under,
            Decoder::PreviewRevocation,
            timeout,
        );
        self.single(call)
    }

    fn post(&self, operation: &'static str, under: &str, decoder: Decoder, request: &Request) -> Single<T> {
        let mut call = self.on(operation, "POST", under, decoder, request.request_timeout);
        // A long wait must not die of the HTTP limit that nobody asked for.
        if request.request_timeout.is_none() && !self.client.has_timeout() {
            call.timeout = call.timeout.max(request.least_request_timeout);
        }
        call.body = Some(request.body.to_string());
        self.single(call)
    }
}
