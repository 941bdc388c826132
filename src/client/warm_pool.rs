//! What takes more than one request of a warm pool. Source: PROTOCOL.md section 12.

use std::time::Duration;

use super::call::{Call, Client, Failure, Outcome, DEFAULT_TIMEOUT};
use super::plan::timed;
use crate::core::config::CALL_OPTIONS;
use crate::core::error::{Error, Kind};
use crate::core::options::{Fields, Value};
use crate::core::value::{json, number_text};
use crate::core::warm_pool::Wait;
use crate::surface::{pools, Scope};
use crate::transport::{Answer, Transport};

/// Changes what was given. A change of one number of the size asks for the others first: the wire wants all.
pub async fn update<T: Transport>(
    client: &Client<T>,
    id: &str,
    options: Option<&Value>,
) -> Outcome<T, T::Answer> {
    let mut request = pools::UPDATE.request(Scope::Handle, &[id], &[], options)?;
    let timeout = request.request_timeout;
    let own: Vec<&str> = pools::UPDATE.own_options().map(|field| field.js).collect();
    let fields = Fields::new("", options, &[&own, &CALL_OPTIONS])?;
    if pools::changes_size(&fields) {
        let time = timed(timeout);
        let info = client
            .plan_on(&pools::GET_INFO, &[id], &[], time.as_ref())?
            .send()
            .await?;
        let size = info.inner("resources");
        let now = |name: &str| {
            size.as_ref()
                .and_then(|size| size.number(name))
                .map(|number| number as u64)
        };
        let mut whole = json!({ "vcpus": now("vcpus"), "memory_mb": now("memoryMb") });
        whole.put_given("disk_mb", now("diskMb"));
        request.put("resources", pools::resources(&fields, &whole)?);
    }
    let call = Call::of(&request, client.timeout(timeout, DEFAULT_TIMEOUT));
    client.call(&call).await
}

/// Looks until enough machines are ready; `progress` hears of each look.
pub async fn wait_until_ready<T: Transport>(
    client: &Client<T>,
    id: &str,
    wait: &Wait,
    progress: impl Fn(&T::Answer) -> Result<(), T::Thrown>,
) -> Outcome<T, T::Answer> {
    let transport = client.transport();
    let end = transport.now_ms() + wait.timeout.as_secs_f64() * 1000.0;
    let time = timed(wait.request_timeout);
    loop {
        let info = client
            .plan_on(&pools::GET_INFO, &[id], &[], time.as_ref())?
            .send()
            .await?;
        progress(&info).map_err(Failure::Thrown)?;
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
            let what = format!(
                "warm pool {id} has {} of {} ready machines after {} s{reason}",
                number_text(ready),
                number_text(wanted),
                number_text(wait.timeout.as_secs_f64())
            );
            return Err(Error::new(Kind::Timeout, "timeout", what).into());
        }
        transport
            .sleep(wait.interval.min(Duration::from_secs_f64(left / 1000.0)))
            .await;
    }
}
