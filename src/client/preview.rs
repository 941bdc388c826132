//! A machine seen from outside: its ports, and SSH. Source: PROTOCOL.md section 3, "Operations".

use std::time::Duration;

use super::call::{Call, Outcome};
use super::machine::Machine;
use crate::core::http;
use crate::core::previews::Request;
use crate::transport::{Decoder, Transport};

impl<T: Transport> Machine<T> {
    /// URLs of a port with a token in them.
    pub async fn preview_url(&self, port: u16, timeout: Option<Duration>) -> Outcome<T, T::Answer> {
        let under = format!("/ports/{port}/preview-url");
        let call = self.on("getPreviewUrl", "GET", &under, Decoder::PreviewUrl, timeout);
        Ok(self.client.call(&call).await?.answer)
    }

    /// The same, for as long as the caller says.
    pub async fn signed_preview_url(&self, port: u16, request: &Request) -> Outcome<T, T::Answer> {
        let under = format!("/ports/{port}/signed-preview-url");
        self.post("createSignedPreviewUrl", &under, Decoder::PreviewUrl, request)
            .await
    }

    /// What a reverse proxy of the caller needs: the tokens go into headers.
    pub async fn preview_proxy_target(&self, port: u16, request: &Request) -> Outcome<T, T::Answer> {
        let under = format!("/ports/{port}/preview-proxy-target");
        self.post(
            "createPreviewProxyTarget",
            &under,
            Decoder::PreviewProxyTarget,
            request,
        )
        .await
    }

    /// Lets the server look until a service answers: one request, however long it takes. That it never does is no error.
    pub async fn wait_for_preview(&self, port: u16, request: &Request) -> Outcome<T, T::Answer> {
        let under = format!("/ports/{port}/readiness");
        self.post(
            "checkPreviewReadiness",
            &under,
            Decoder::PreviewReadiness,
            request,
        )
        .await
    }

    /// Lets the holder of a key in by SSH.
    pub async fn ssh_access(&self, request: &Request) -> Outcome<T, T::Answer> {
        self.post("createSshAccess", "/ssh-access", Decoder::SshAccess, request)
            .await
    }

    /// What was given out, of one port or of all.
    pub async fn preview_urls(&self, port: Option<u16>, timeout: Option<Duration>) -> Outcome<T, T::Answer> {
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
        Ok(self.client.call(&call).await?.answer)
    }

    /// Takes it back.
    pub async fn revoke_preview_url(&self, grant: &str, timeout: Option<Duration>) -> Outcome<T, T::Answer> {
        let under = format!("/preview-urls/{}", http::encode(grant));
        let call = self.on(
            "revokePreviewUrl",
            "DELETE",
            &under,
            Decoder::PreviewRevocation,
            timeout,
        );
        Ok(self.client.call(&call).await?.answer)
    }

    async fn post(
        &self,
        operation: &'static str,
        under: &str,
        decoder: Decoder,
        request: &Request,
    ) -> Outcome<T, T::Answer> {
        let mut call: Call = self.on(operation, "POST", under, decoder, request.request_timeout);
        // A long wait must not die of the HTTP limit that nobody asked for.
        if request.request_timeout.is_none() && !self.client.has_timeout() {
            call.timeout = call.timeout.max(request.least_request_timeout);
        }
        call.body = Some(request.body.to_string());
        Ok(self.client.call(&call).await?.answer)
    }
}
