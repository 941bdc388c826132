//! What a warm pool needs now: a decision over numbers, without machines.

use std::time::Duration;

use tokio::time::Instant;

/// What the pool's owner wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// `false`: hold nothing.
    pub serves: bool,
    /// Machines to hold ready.
    pub min: usize,
    /// Most machines, ready and starting together.
    pub max: usize,
    /// Machines over `min` live so long.
    pub idle: Duration,
    /// Every machine is replaced after so long.
    pub stale: Duration,
}

/// One ready machine.
#[derive(Debug, Clone, Copy)]
pub struct ReadyMachine {
    /// When it became ready.
    pub since: Instant,
    /// Whether it is what the pool's settings ask for now.
    pub is_current: bool,
}

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Places of machines to end.
    pub stop: Vec<usize>,
    /// Machines to start.
    pub start: usize,
    /// When to decide again even if nothing changes.
    pub wake: Option<Instant>,
}

/// Decides. `held` is oldest first; `retry_at` holds new starts back after failures.
///
/// A machine that is only old serves until its replacement is ready if `max` leaves room for both; one that is no
/// longer what was asked for goes at once.
pub fn plan(
    now: Instant,
    held: &[ReadyMachine],
    starting: usize,
    retry_at: Option<Instant>,
    wanted: &Wanted,
) -> Plan {
    if !wanted.serves {
        return Plan {
            stop: (0..held.len()).collect(),
            ..Plan::default()
        };
    }
    let mut plan = Plan::default();
    let age = |held: &ReadyMachine| now.saturating_duration_since(held.since);
    let (mut old, mut fresh) = (Vec::new(), Vec::new());
    for (place, machine) in held.iter().enumerate() {
        match machine {
            machine if !machine.is_current => plan.stop.push(place),
            machine if age(machine) >= wanted.stale => old.push(place),
            _ => fresh.push(place),
        }
    }
    // The oldest go first, as soon as they were idle too long or there are too many.
    while fresh.len() > wanted.min {
        let is_idle = age(&held[fresh[0]]) >= wanted.idle;
        if !is_idle && fresh.len() <= wanted.max {
            break;
        }
        plan.stop.push(fresh.remove(0));
    }
    let missing = wanted.min.saturating_sub(fresh.len() + starting);
    let is_held_back = retry_at.is_some_and(|retry| retry > now);
    let mut occupied = fresh.len() + old.len() + starting;
    // Old ones go when the fresh ones are enough, or to make room for their replacements.
    while !old.is_empty() && (fresh.len() >= wanted.min || (occupied + missing > wanted.max && !is_held_back))
    {
        plan.stop.push(old.remove(0));
        occupied -= 1;
    }
    if !is_held_back {
        plan.start = missing.min(wanted.max.saturating_sub(occupied));
    }
    let has_surplus = fresh.len() > wanted.min;
    let dues = fresh.iter().map(|place| {
        let since = held[*place].since;
        since
            + if has_surplus {
                wanted.idle.min(wanted.stale)
            } else {
                wanted.stale
            }
    });
    plan.wake = dues.chain(retry_at.filter(|_| is_held_back && missing > 0)).min();
    plan.stop.sort_unstable();
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wanted(min: usize, max: usize) -> Wanted {
        Wanted {
            serves: true,
            min,
            max,
            idle: 60 * SECOND,
            stale: 100 * SECOND,
        }
    }

    /// Machines of these ages in seconds.
    fn held(now: Instant, ages: &[u64]) -> Vec<ReadyMachine> {
        let machine = |age: &u64| ReadyMachine {
            since: now - Duration::from_secs(*age),
            is_current: true,
        };
        ages.iter().map(machine).collect()
    }

    /// Long after the clock began, so that ages can be taken from it.
    fn now() -> Instant {
        Instant::now() + 1000 * SECOND
    }

    #[test]
    fn an_empty_pool_starts_its_minimum_and_counts_what_is_starting() {
        let now = now();
        assert_eq!(plan(now, &[], 0, None, &wanted(3, 5)).start, 3);
        assert_eq!(plan(now, &held(now, &[1]), 1, None, &wanted(3, 5)).start, 1);
        assert_eq!(plan(now, &held(now, &[1]), 2, None, &wanted(3, 5)).start, 0);
        assert_eq!(plan(now, &[], 0, None, &wanted(0, 5)).start, 0);
    }

    #[test]
    fn a_pool_that_does_not_serve_holds_nothing() {
        let now = now();
        let off = Wanted {
            serves: false,
            ..wanted(2, 2)
        };
        let expected = Plan {
            stop: vec![0, 1],
            ..Plan::default()
        };
        assert_eq!(plan(now, &held(now, &[1, 1]), 1, None, &off), expected);
    }

    #[test]
    fn machines_over_the_minimum_go_when_idle_and_over_the_maximum_at_once() {
        let now = now();
        let machines = held(now, &[70, 65, 10]);
        assert_eq!(plan(now, &machines, 0, None, &wanted(1, 5)).stop, [0, 1]);
        assert_eq!(plan(now, &machines, 0, None, &wanted(2, 5)).stop, [0]);
        assert_eq!(
            plan(now, &held(now, &[3, 2, 1]), 0, None, &wanted(1, 2)).stop,
            [0]
        );
        // The next one is idle in 50 s.
        let next = plan(now, &held(now, &[10, 5]), 0, None, &wanted(1, 5));
        assert_eq!((next.stop.len(), next.wake), (0, Some(now + 50 * SECOND)));
    }

    #[test]
    fn an_old_machine_serves_until_its_replacement_is_ready_if_there_is_room() {
        let now = now();
        let machines = held(now, &[150, 10]);
        let step = plan(now, &machines, 0, None, &wanted(2, 3));
        assert_eq!((step.stop.len(), step.start), (0, 1));
        let step = plan(now, &machines, 1, None, &wanted(2, 3));
        assert_eq!((step.stop.len(), step.start), (0, 0));
        let step = plan(now, &held(now, &[150, 10, 1]), 0, None, &wanted(2, 3));
        assert_eq!((step.stop, step.start), (vec![0], 0));
        let no_room = plan(now, &machines, 0, None, &wanted(2, 2));
        assert_eq!((no_room.stop, no_room.start), (vec![0], 1));
    }

    #[test]
    fn machines_of_other_settings_go_at_once() {
        let now = now();
        let mut machines = held(now, &[1, 1]);
        machines[1].is_current = false;
        let step = plan(now, &machines, 0, None, &wanted(2, 2));
        assert_eq!((step.stop, step.start), (vec![1], 1));
    }

    #[test]
    fn failures_hold_starts_back_and_keep_what_there_is() {
        let now = now();
        let later = now + 5 * SECOND;
        let step = plan(now, &held(now, &[150]), 0, Some(later), &wanted(1, 1));
        assert_eq!(
            step,
            Plan {
                stop: vec![],
                start: 0,
                wake: Some(later)
            }
        );
        let step = plan(later, &held(now, &[150]), 0, Some(later), &wanted(1, 1));
        assert_eq!((step.stop, step.start), (vec![0], 1));
    }

    proptest::proptest! {
        /// Never more than the maximum, never fewer than the minimum when nothing stands in the way, no busy waiting.
        #[test]
        fn the_pool_stays_within_its_bounds(
            ages in proptest::collection::vec(0u64..200, 0..8),
            starting in 0usize..4,
            min in 0usize..5,
            more in 0usize..4,
        ) {
            let now = now();
            let machines = held(now, &{ let mut ages = ages; ages.sort_unstable_by(|a, b| b.cmp(a)); ages });
            let wanted = wanted(min, min + more);
            let step = plan(now, &machines, starting, None, &wanted);
            let kept = machines.len() - step.stop.len();
            let total = kept + starting + step.start;
            proptest::prop_assert!(kept <= wanted.max);
            proptest::prop_assert!(step.start == 0 || total <= wanted.max);
            proptest::prop_assert!(total >= min);
            proptest::prop_assert!(step.wake.is_none_or(|wake| wake > now));
        }
    }
}
