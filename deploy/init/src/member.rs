//! Who is in a cluster, and which buckets each of them may open.

use modiolus_broker::rabbitmq::definitions::Role;
use modiolus_pipeline::{Bucket, StageName};

/// Somebody with a key of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The worker of a stage.
    Worker(StageName),
    /// The review page.
    Console,
    /// Who runs `modiolus`.
    Operator,
    /// This program, which owns the buckets.
    Init,
}

/// What a member may do with a bucket. Writing includes deleting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Get and list.
    pub read: bool,
    /// Put and delete.
    pub write: bool,
    /// Change the bucket's rules.
    pub owner: bool,
}

const READ: Rights = Rights { read: true, write: false, owner: false };
const WRITE: Rights = Rights { read: true, write: true, owner: false };
const OWN: Rights = Rights { read: true, write: true, owner: true };

impl Member {
    /// All members.
    pub fn all() -> impl Iterator<Item = Self> {
        StageName::ALL.into_iter().map(Self::Worker).chain([Self::Console, Self::Operator, Self::Init])
    }

    /// The name of its key, its user and its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker(stage) => stage.as_str(),
            Self::Console => "console",
            Self::Operator => "operator",
            Self::Init => "init",
        }
    }

    /// Its user at the broker, if it has one.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Worker(stage) => Some(Role::Worker(stage)),
            Self::Console => Some(Role::Console),
            Self::Operator => Some(Role::Operator),
            Self::Init => None,
        }
    }

    /// Whether it makes or needs pseudonyms.
    pub fn knows_the_pseudonyms_key(self) -> bool {
        matches!(self, Self::Worker(StageName::Filter) | Self::Operator)
    }

    /// What it may do with a bucket: what its stage reads and writes, and the marks of its jobs in `runs`. The console shows
    /// slices and masks and makes none; it writes what people deliver, say of slices, and decide of runs and models.
    pub fn rights(self, bucket: Bucket) -> Rights {
        use Bucket::{Datasets, Incoming, Models, Results, Runs, Scans};
        let stage = match self {
            Self::Init => return OWN,
            Self::Operator => return WRITE,
            Self::Console => return if matches!(bucket, Scans | Results) { READ } else { WRITE },
            Self::Worker(stage) => stage,
        };
        match (stage, bucket) {
            (_, Runs) => WRITE,
            (StageName::Ingest, Incoming) => WRITE,
            (StageName::Filter, Incoming) => READ,
            (StageName::Filter, Scans) => WRITE,
            (StageName::Preprocess, Scans | Datasets) => WRITE,
            (StageName::Preprocess, Models) => READ,
            (StageName::Train, Datasets) => READ,
            (StageName::Train, Models) => WRITE,
            (StageName::Infer, Scans | Models) => READ,
            (StageName::Infer, Results) => WRITE,
            _ => Rights::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_need_identity_open_incoming() {
        let may = |member: &Member| member.rights(Bucket::Incoming) != Rights::default();
        let names: Vec<_> = Member::all().filter(may).map(Member::name).collect();
        assert_eq!(names, ["ingest", "filter", "console", "operator", "init"]);
    }

    #[test]
    fn no_worker_learns_who_may_log_in() {
        let may = |member: &Member| member.rights(Bucket::Console) != Rights::default();
        let names: Vec<_> = Member::all().filter(may).map(Member::name).collect();
        assert_eq!(names, ["console", "operator", "init"]);
    }

    #[test]
    fn whoever_learns_a_secret_of_the_pseudonyms_may_open_incoming_too() {
        for member in Member::all().filter(|member| member.knows_the_pseudonyms_key()) {
            assert!(member.rights(Bucket::Incoming).read, "{}", member.name());
        }
    }

    #[test]
    fn nobody_but_init_changes_the_rules_of_a_bucket() {
        for member in Member::all().filter(|member| *member != Member::Init) {
            let owns = Bucket::ALL.iter().any(|bucket| member.rights(*bucket).owner);
            assert!(!owns, "{}", member.name());
        }
    }
}
