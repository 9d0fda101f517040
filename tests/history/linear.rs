//! Is a short history linearizable? The whole film at once, with reads of several pieces at one
//! moment, against its sequential specification; the search is that of `todc-utils` (Wing and
//! Gong, Lowe).
//!
//! An eviction is two steps: it claims the piece, and unpublishes it. Who evicts a piece that
//! another thread has claimed evicts nothing, though readers may still find it for a moment.

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use super::record::{Call, Did, Id, Time};

/// Pieces of a film whose history is searched.
pub const PIECES: u32 = 6;

/// Per piece which insertion is there, and whether somebody evicts it already.
type State = [Option<(Id, bool)>; PIECES as usize];

#[derive(Clone, Debug)]
pub enum Step {
    Publish(u32, Id),
    Claim(u32, Id),
    Unpublish(u32, Id),
    Present(u32),
    NothingToEvict(u32),
    Read(Vec<(u32, Option<Id>)>),
}

struct Film;

impl Specification for Film {
    type State = State;
    type Operation = Step;

    fn init() -> State {
        State::default()
    }

    fn apply(step: &Step, state: &State) -> (bool, State) {
        let mut new = *state;
        let at = |piece: &u32| state[*piece as usize];
        let (valid, change) = match step {
            Step::Publish(piece, id) => (at(piece).is_none(), Some((piece, Some((*id, false))))),
            Step::Claim(piece, id) => {
                (at(piece) == Some((*id, false)), Some((piece, Some((*id, true)))))
            }
            Step::Unpublish(piece, id) => (at(piece) == Some((*id, true)), Some((piece, None))),
            Step::Present(piece) => (at(piece).is_some(), None),
            Step::NothingToEvict(piece) => (at(piece).is_none_or(|(_, claimed)| claimed), None),
            Step::Read(found) => {
                (found.iter().all(|(piece, id)| at(piece).map(|(id, _)| id) == *id), None)
            }
        };
        if let (true, Some((piece, to))) = (valid, change) {
            new[*piece as usize] = to;
        }
        (valid, new)
    }
}

/// The steps of the calls, each with the time in which it was made.
pub fn steps(calls: &[Call]) -> Vec<(Time, Time, Step)> {
    let mut steps = Vec::new();
    for call in calls {
        let step = match &call.did {
            Did::Publish(piece, id) => Some(Step::Publish(*piece, *id)),
            Did::Present(piece) => Some(Step::Present(*piece)),
            Did::EvictNone(piece) => Some(Step::NothingToEvict(*piece)),
            Did::Read(found) => Some(Step::Read(found.clone())),
            Did::Nothing => None,
        };
        steps.extend(step.map(|step| (call.start, call.end, step)));
        for told in &call.evicted {
            steps.push((call.start, told.at, Step::Claim(told.piece, told.id)));
            steps.push((told.at, call.end, Step::Unpublish(told.piece, told.id)));
        }
    }
    steps
}

/// Whether some order of the steps explains them, each within its time.
pub fn is_linearizable(steps: &[(Time, Time, Step)]) -> bool {
    let mut actions = Vec::new();
    for (n, (start, end, step)) in steps.iter().enumerate() {
        // Where one step ends as another begins, the end comes first.
        actions.push(((*start, true), n, Action::Call(step.clone())));
        actions.push(((*end, false), n, Action::Response(step.clone())));
    }
    if actions.is_empty() {
        return true;
    }
    actions.sort_by_key(|(time, ..)| *time);
    let actions = actions.into_iter().map(|(_, n, action)| (n, action)).collect();
    WGLChecker::<Film>::is_linearizable(History::from_actions(actions))
}
