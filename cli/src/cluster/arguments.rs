//! The command line of the commands for a cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use modiolus_pipeline::{Plane, RunId, StageName};

use super::source::Source;
use crate::arguments::Until;

#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Give scans to a cluster and start a run there
    Submit(Submit),
    /// Show the runs of a cluster, or one of them
    Status(Status),
    /// Watch a run of a cluster until it is done
    Watch(Watch),
    /// Bring the results of a run from a cluster
    Fetch(Fetch),
    /// Cancel a run of a cluster, or a training: what is not done yet is not begun any more
    Cancel(Cancel),
    /// Take in masks that people drew elsewhere
    Annotations(Annotations),
    /// Train a model on what people have drawn, now
    Retrain(Retrain),
    /// List, show, replay or drop the jobs that a cluster has given up
    Dead(Dead),
    /// Find out what is wrong with a cluster, and what to do
    Doctor(Doctor),
}

/// Which cluster.
#[derive(Args, Default)]
pub(crate) struct At {
    /// The configuration; otherwise modiolus.toml, where it is there. MODIOLUS__SECTION__KEY in the environment wins
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// A value of the configuration, as broker.address=amqp://host:5672
    #[arg(long, value_name = "SECTION.KEY=VALUE", global = true)]
    pub(crate) set: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus submit scans --name july --wait\n         \
    modiolus submit s3://incoming/scans/july-delivery --plane axial\n\n\
    Only files that aren't there yet are uploaded: killed at any moment and started again, it goes on. Files that another\n\
    S3 client uploads have to lie below scans/ in the bucket, each delivery below a name of its own.\n\
    A name, like everything in the bucket of runs, can be read by every worker: let it name no patient.")]
pub(crate) struct Submit {
    /// The folder with the scans, as exported; or s3://incoming/scans/PREFIX for files that are there already
    #[arg(value_name = "SCANS")]
    pub(crate) scans: Source,
    /// The run's name; otherwise one that follows from the files and the options
    #[arg(long, value_name = "RUN")]
    pub(crate) name: Option<RunId>,
    /// The plane of the slices to keep: coronal, axial, sagittal or six direction cosines
    #[arg(long, default_value = "coronal", allow_hyphen_values = true)]
    pub(crate) plane: Plane,
    /// The model: a version in the store or a file; otherwise the store's current model, else the base model
    #[arg(long, value_name = "VERSION_OR_FILE")]
    pub(crate) model: Option<String>,
    /// Stop after this stage: filter only indexes and keeps slices
    #[arg(long, value_name = "STAGE")]
    pub(crate) until: Option<Until>,
    /// Wait until the run is done
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print what was submitted, and with --wait what came of it, as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus status july")]
pub(crate) struct Status {
    /// The run; otherwise all that were submitted
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus watch july\n\n\
    A line for each folder of the delivery (in most deliveries a patient) with its jobs by stage; ends with the run.")]
pub(crate) struct Watch {
    /// The run, or a training
    #[arg(value_name = "RUN")]
    pub(crate) run: RunId,
    /// Print what happens as JSON, one line each; the last says how the run ended
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus fetch july --output result\n\n\
    Leaves the same tree as `modiolus run scans --output result`. Needs the key of the pseudonyms that filter has.")]
pub(crate) struct Fetch {
    /// The run
    #[arg(value_name = "RUN")]
    pub(crate) run: RunId,
    /// Where the results go
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Name the outputs by PatientID instead of the pseudonym, and keep original UIDs in the table
    #[arg(long)]
    pub(crate) keep_patient_ids: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus cancel july\n\n\
    Jobs that work at this moment are done to their end. What is done stays done: submitted again, the run goes on.")]
pub(crate) struct Cancel {
    /// The run, or a training
    #[arg(value_name = "RUN")]
    pub(crate) run: RunId,
    /// Print what was cancelled as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus annotations import masks --run july --wait")]
pub(crate) struct Annotations {
    #[command(subcommand)]
    pub(crate) action: AnnotationsAction,
}

#[derive(Subcommand)]
pub(crate) enum AnnotationsAction {
    /// Make the masks of a folder the newest of their slices; enough new ones start a training
    Import(Import),
}

#[derive(Args)]
#[command(after_help = "Example: modiolus annotations import masks --run july --wait\n\n\
    PATIENT and STEM are those of the run's output. A PNG has the slice's size: 0 is background, anything else electrode. Of a\n\
    labelme file, the shapes labelled electrode are taken. A mask without electrode says that there is no array.\n\n\
    A labelme file, and masks.csv beside PNGs, say what they went out as: where somebody has drawn since, it is refused.\n\n\
    modiolus-console looks for new masks and starts the training: without it, `modiolus retrain` does.")]
pub(crate) struct Import {
    /// Annotations: PATIENT_STEM.json or .png, or PATIENT/STEM.json or .png (labelme or mask)
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The run that the slices are from
    #[arg(long, value_name = "RUN")]
    pub(crate) run: RunId,
    /// Who drew them; it names no patient
    #[arg(long, value_name = "NAME", default_value = "import")]
    pub(crate) by: String,
    /// Import also what the review page gave out before somebody else drew on its slice
    #[arg(long)]
    pub(crate) force: bool,
    /// PATIENT is the PatientID, as in an output with --keep-patient-ids
    #[arg(long)]
    pub(crate) keep_patient_ids: bool,
    /// Wait until samples are made of them
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print what became of each file as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus retrain --epochs 12 --wait\n\n\
    Learns from the newest mask of each slice, beginning with the current model. The candidate becomes current if it is better\n\
    on the same held-out patients.")]
pub(crate) struct Retrain {
    /// A plan (JSON), or the name of a built-in one: default, one-level-unet; otherwise the current model's fine-tuning
    #[arg(long, value_name = "PLAN.json")]
    pub(crate) plan: Option<String>,
    /// How many epochs, instead of the plan's
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u32>,
    /// Wait until the candidate is judged
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print the training, and with --wait what came of it, as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus dead list --stage filter")]
pub(crate) struct Dead {
    #[command(subcommand)]
    pub(crate) action: DeadAction,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Subcommand)]
pub(crate) enum DeadAction {
    /// The letters of given-up jobs, each with its cause
    #[command(after_help = "Example: modiolus dead list --run july")]
    List(Which),
    /// Letters in full: headers and body
    #[command(after_help = "Example: modiolus dead show 0123456789ab")]
    Show(Which),
    /// Have jobs done again, from their first attempt; their runs are open again until they are done
    #[command(after_help = "Example: modiolus dead replay --stage filter --run july")]
    Replay(Which),
    /// Forget letters: their jobs stay failed
    #[command(after_help = "Example: modiolus dead drop 0123456789ab")]
    Drop(Which),
}

/// Which of the dead. What is given has to hold, all of it.
#[derive(Args)]
pub(crate) struct Which {
    /// Letters, or the jobs in them
    #[arg(value_name = "LETTER_OR_JOB")]
    pub(crate) letters: Vec<String>,
    /// Only those of this stage
    #[arg(long, value_name = "STAGE")]
    pub(crate) stage: Option<StageName>,
    /// Only those of this run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus doctor --config modiolus.toml\n\n\
    A line for each thing that has to be right; exit code 1 where one is not.")]
pub(crate) struct Doctor {
    /// Print JSON instead of lines
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}
