//! Files of a volume, whether or not a machine has it mounted.
//!
//! Machines write into volumes, so the engine itself opens nothing by a name in them: a process of the agent does, one for
//! each session, with namespaces of its own, whose root is the volume. It ends with its session, with the engine, and when
//! the volume is deleted.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nullspace_agent::message::{Task, Volume};
use tokio::io::unix::AsyncFd;
use tokio::io::Interest;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{control, failed, volumes, Shared, IDS, VOLUMES_ID};
use crate::isolation::{Result, VolumeFiles};

/// Starts the process, and waits until it has confined itself. Dropped half-way, or after a failure, nothing is left.
pub async fn open(shared: &Shared, directory: &Path, over: CancellationToken) -> Result<VolumeFiles> {
    let task = Task::Volume(Volume {
        source: volumes::text(directory)?,
        filters: shared.filters.clone(),
    });
    let ids = match shared.root {
        true => Some(shared.volume_ids.get_or_try_init(|| ids(shared)).await?),
        false => None,
    };
    let (channel, theirs) = UnixStream::pair().map_err(failed("make a socket"))?;
    let (engine_end, agent_end) =
        nullspace_agent::channel::pair().map_err(failed("make a control socket"))?;
    let child = shared
        .spawner
        .machine(agent_end)
        .await
        .map_err(failed("start a process for the volume"))?;
    let (gone, ended) = oneshot::channel();
    let given_up = over.child_token();
    // From here on its end, whatever the cause, is seen to.
    watch(child.into_pidfd(), given_up.clone(), gone)?;
    let guard = given_up.drop_guard();
    let mut descriptors = vec![theirs.as_fd()];
    descriptors.extend(ids.map(AsFd::as_fd));
    control::perform(engine_end, &task, &descriptors).await?;
    guard.disarm();
    Ok(VolumeFiles { channel, ended })
}

async fn ids(shared: &Shared) -> Result<OwnedFd> {
    let made = shared.spawner.user_namespace(VOLUMES_ID, IDS).await;
    made.map_err(failed("make a user namespace"))
}

/// Ends the process when it is told to, and collects it.
fn watch(pidfd: OwnedFd, over: CancellationToken, gone: oneshot::Sender<()>) -> Result<()> {
    // SAFETY: the value owns its descriptor and always answers with the same one.
    let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }
        .map_err(|error| failed("watch a process")(error.into()))?;
    tokio::spawn(async move {
        tokio::select! {
            _ = pidfd.readable() => {}
            () = over.cancelled() => {
                let _ = rustix::process::pidfd_send_signal(pidfd.get_ref(), rustix::process::Signal::KILL);
                let _ = pidfd.readable().await;
            }
        }
        let collected = rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.get_ref().as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        );
        if let Err(error) = collected {
            tracing::error!(%error, "a process for a volume cannot be collected");
        }
        drop(gone);
    });
    Ok(())
}
