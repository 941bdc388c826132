//! Template warm pools. Source: PROTOCOL.md section 12.

use std::time::Duration;

use nullspace_wire::warm_pool::PoolResources;

use super::call::{json, Call, Client, Outcome, DEFAULT_TIMEOUT};
use super::single::{Planned, Single};
use crate::core::error::{Error, Kind};
use crate::core::http;
use crate::core::options::{shown, Fields, Value};
use crate::core::warm_pool::{self, Wait};
use crate::transport::{Answer, Decoder, Transport};

const PATH: &str = "/v1/template-warm-pools";

/// A pool, taken up.
#[derive(Clone)]
pub struct WarmPool<T> {
    client: Client<T>,
    /// `twp_...`
    pub id: String,
}

impl<T: Transport> WarmPool<T> {
    /// What makes a pool.
    pub fn creation(client: &Client<T>, template: &str, fields: &Fields<'_>) -> Planned<T> {
        let request = warm_pool::create(template, fields)?;
        let mut call = pools(
            client,
            "createTemplateWarmPool",
            "POST",
            PATH.to_owned(),
            Decoder::WarmPool,
            None,
        );
        call.body = Some(json(&request)?);
        Ok(Single::new(client, call))
    }

    /// What takes up a pool that is there.
    pub fn reading(client: &Client<T>, id: &str, timeout: Option<Duration>) -> Single<T> {
        let call = pools(
            client,
            "getTemplateWarmPool",
            "GET",
            path(id),
            Decoder::WarmPool,
            timeout,
        );
        Single::new(client, call)
    }

    /// All that match.
    pub fn list(client: &Client<T>, query: &[(&str, String)]) -> Single<T> {
        let call = pools(
            client,
            "listTemplateWarmPools",
            "GET",
            http::with_query(PATH, query),
            Decoder::WarmPoolList,
            None,
        );
        Single::new(client, call)
    }

    /// The pool that an answer is about.
    pub fn of(client: &Client<T>, answer: &T::Answer) -> Result<Self, Error> {
        let id = answer
            .text("id")
            .ok_or_else(|| Error::invalid_response("the warm pool has no id"))?;
        Ok(Self {
            client: client.clone(),
            id,
        })
    }

    /// The transport of its client.
    pub fn transport(&self) -> &T {
        self.client.transport()
    }

    /// Describes the pool.
    pub fn info(&self, timeout: Option<Duration>) -> Single<T> {
        Self::reading(&self.client, &self.id, timeout)
    }

    /// Destroys the pool.
    pub fn delete(&self, timeout: Option<Duration>) -> Single<T> {
        let call = pools(
            &self.client,
            "deleteTemplateWarmPool",
            "DELETE",
            path(&self.id),
            Decoder::Nothing,
            timeout,
        );
        Single::new(&self.client, call)
    }

    /// Changes what was given. A change of one number of the size asks for the others first: the wire wants all.
    pub async fn update(&self, options: Option<&Value>) -> Outcome<T, T::Answer> {
        let mut change = warm_pool::update(options)?;
        if change.size.is_given() {
            let info = self.info(change.request_timeout).send().await?;
            let size = info.inner("resources");
            let now = |name: &str| size.as_ref().and_then(|size| size.number(name));
            change.request.resources = Some(change.size.over(&PoolResources {
                vcpus: now("vcpus").unwrap_or(1.0) as u32,
                memory_mb: now("memoryMb").unwrap_or(512.0) as u32,
                disk_mb: now("diskMb").map(|size| size as u32),
            }));
        }
        let mut call = self.on("updateTemplateWarmPool", "PATCH", "", change.request_timeout);
        call.body = Some(json(&change.request)?);
        self.client.call(&call).await
    }

    /// Lets it serve and fill.
    pub fn enable(&self, timeout: Option<Duration>) -> Single<T> {
        self.turn("enableTemplateWarmPool", "/enable", timeout)
    }

    /// Lets it neither serve nor fill.
    pub fn disable(&self, timeout: Option<Duration>) -> Single<T> {
        self.turn("disableTemplateWarmPool", "/disable", timeout)
    }

    /// Destroys its ready machines.
    pub fn drain(&self, timeout: Option<Duration>) -> Single<T> {
        self.turn("drainTemplateWarmPool", "/drain", timeout)
    }

    /// Compares what there is with what there should be, now.
    pub fn reconcile(&self, timeout: Option<Duration>) -> Single<T> {
        self.turn("reconcileTemplateWarmPool", "/reconcile", timeout)
    }

    fn turn(&self, operation: &'static str, under: &str, timeout: Option<Duration>) -> Single<T> {
        let call = self.on(operation, "POST", under, timeout);
        Single::new(&self.client, call)
    }

    fn on(
        &self,
        operation: &'static str,
        method: &'static str,
        under: &str,
        timeout: Option<Duration>,
    ) -> Call {
        let path = format!("{}{under}", path(&self.id));
        pools(&self.client, operation, method, path, Decoder::WarmPool, timeout)
    }

    /// Looks until enough machines are ready; `progress` hears of each look.
    pub async fn wait_until_ready(
        &self,
        wait: &Wait,
        progress: impl Fn(&T::Answer) -> Result<(), T::Thrown>,
    ) -> Outcome<T, T::Answer> {
        let transport = self.client.transport();
        let end = transport.now_ms() + wait.timeout.as_secs_f64() * 1000.0;
        loop {
            let info = self.info(wait.request_timeout).send().await?;
            progress(&info).map_err(super::Failure::Thrown)?;
            let ready = info
                .inner("status")
                .and_then(|status| status.number("ready"))
                .unwrap_or(0.0);
            let wanted = wait
                .min_ready
                .map(|count| count as f64)
                .or_else(|| info.number("minReady"))
                .unwrap_or(1.0);
            if ready >= wanted {
                return Ok(info);
            }
            let left = end - transport.now_ms();
            if left <= 0.0 {
                let reason = info
                    .text("degradedReason")
                    .map(|reason| format!(" ({reason})"))
                    .unwrap_or_default();
                return Err(Error::new(
                    Kind::Timeout,
                    "timeout",
                    format!(
                        "warm pool {} has {} of {} ready machines after {} s{reason}",
                        self.id,
                        shown(ready),
                        shown(wanted),
                        shown(wait.timeout.as_secs_f64())
                    ),
                )
                .into());
            }
            transport
                .sleep(wait.interval.min(Duration::from_secs_f64(left / 1000.0)))
                .await;
        }
    }
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", http::encode(id))
}

fn pools<T: Transport>(
    client: &Client<T>,
    operation: &'static str,
    method: &'static str,
    path: String,
    decoder: Decoder,
    timeout: Option<Duration>,
) -> Call {
    Call::new(
        operation,
        method,
        path,
        decoder,
        client.timeout(timeout, DEFAULT_TIMEOUT),
    )
}
