//! Which model is current, and how that changes.

use serde::{Deserialize, Serialize};

use crate::ModelVersion;

/// The object behind [`ObjectKey::CurrentModel`](crate::ObjectKey::CurrentModel): the only pointer that ever moves. Models
/// themselves never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurrentModel {
    /// The model that runs use.
    pub current: ModelVersion,
    /// Those that were current before, the latest last.
    #[serde(default)]
    pub previous: Vec<ModelVersion>,
    /// Those that somebody has gone back from: no training makes them current again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<ModelVersion>,
}

impl CurrentModel {
    /// The pointer after `model` has become current. One that is current already stays so, without a new entry.
    pub fn promote(before: Option<Self>, model: ModelVersion) -> Self {
        match before {
            Some(before) if before.current == model => before,
            Some(Self { current, mut previous, mut withdrawn }) => {
                previous.push(current);
                withdrawn.retain(|version| *version != model);
                Self { current: model, previous, withdrawn }
            }
            None => Self { current: model, previous: Vec::new(), withdrawn: Vec::new() },
        }
    }

    /// Whether a model is or was current.
    pub fn knows(&self, model: &ModelVersion) -> bool {
        self.current == *model || self.previous.contains(model) || self.withdrawn.contains(model)
    }

    /// The pointer after going back to the model before; `None` if there was none.
    pub fn rollback(mut self) -> Option<Self> {
        let earlier = self.previous.pop()?;
        let from = std::mem::replace(&mut self.current, earlier);
        if !self.knows(&from) {
            self.withdrawn.push(from);
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promoting_and_rolling_back_walk_the_same_way() {
        let version = |text: &str| text.parse::<ModelVersion>().unwrap();
        let first = CurrentModel::promote(None, version("m-1"));
        let second = CurrentModel::promote(Some(first.clone()), version("m-2"));
        assert_eq!(CurrentModel::promote(Some(second.clone()), version("m-2")), second);
        let back = second.rollback().unwrap();
        assert_eq!((&back.current, &back.previous), (&first.current, &first.previous));
        assert!(back.knows(&version("m-2")), "it was current");
        assert_eq!(CurrentModel::promote(Some(back), version("m-2")).withdrawn, []);
        assert_eq!(first.rollback(), None);
    }
}
