//! The command line: names and options, each with its help and an example.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use modiolus_console::Role;
use modiolus_console::access::{HeaderName, Network, Origin};
use modiolus_pipeline::{AccountName, ModelVersion, Plane};

use crate::cluster::arguments::{At, ClusterCommand};

/// Finds cochlear-implant electrode arrays in CBCT scans, measures them, and learns from corrected masks.
#[derive(Parser)]
#[command(name = "modiolus", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 something failed (it is named), 2 wrong usage.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the attributes of DICOM files that people look at first
    Inspect(Inspect),
    /// Find the slices of a plane in folders of scans, and copy them as they are
    Select(Select),
    /// The main job: folders of scans -> masks, pictures, a table and a report
    Run(Run),
    /// Make synthetic CBCT patients with implants, messy as a hospital's export
    Phantom(Phantom),
    /// Learn from pictures and their masks
    Train(Train),
    /// Draw the masks of pictures or DICOM files
    Predict(Predict),
    /// Compare masks with true masks
    Evaluate(Evaluate),
    /// List, show, promote or roll back the models of a store
    Models(Models),
    /// The review page: runs, slices, masks and models in a browser
    Serve(Serve),
    /// Who may log in to the review page
    Users(Users),
    #[command(flatten)]
    Cluster(ClusterCommand),
}

#[derive(Args)]
#[command(after_help = "Example: modiolus inspect scans/207/I0000613 --png slice.png")]
pub(crate) struct Inspect {
    /// Files to look at
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Write the picture here: a PNG file, or a folder when there are several files
    #[arg(long, value_name = "OUT")]
    pub(crate) png: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus select scans --output coronal --plane coronal\n\n\
    Copies are the files as they came, identity inside; `modiolus run` keeps slices without identity.")]
pub(crate) struct Select {
    /// The folder with the scans, as exported
    #[arg(value_name = "SCANS")]
    pub(crate) scans: PathBuf,
    /// Where the copies go, each below its path in SCANS; otherwise the paths are printed
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// The plane of the slices: coronal, axial, sagittal or six direction cosines
    #[arg(long, default_value = "coronal", allow_hyphen_values = true)]
    pub(crate) plane: Plane,
    /// Print every file with its verdict as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus run scans --output result --plane coronal\n\n\
    Killed at any moment and started again, it goes on and ends with the same bytes. It never writes into SCANS.\n\
    PATIENT in the output is a pseudonym made with a key that stays in result/.modiolus.")]
pub(crate) struct Run {
    /// The folder with the scans, as exported
    #[arg(value_name = "SCANS")]
    pub(crate) scans: PathBuf,
    /// Where the results go
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// The plane of the slices to keep: coronal, axial, sagittal or six direction cosines
    #[arg(long, default_value = "coronal", allow_hyphen_values = true)]
    pub(crate) plane: Plane,
    /// The model: a version in the store or a file; otherwise the store's current model, else the base model
    #[arg(long, value_name = "VERSION_OR_FILE")]
    pub(crate) model: Option<String>,
    /// Annotations: PATIENT_STEM.json or .png, or PATIENT/STEM.json or .png (labelme or mask)
    #[arg(long, value_name = "DIR")]
    pub(crate) annotations: Option<PathBuf>,
    /// Name the outputs by PatientID instead of the pseudonym, and keep original UIDs in the table
    #[arg(long)]
    pub(crate) keep_patient_ids: bool,
    /// How many jobs at once; otherwise one per core
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Stop after this stage: filter only indexes and keeps slices
    #[arg(long, value_name = "STAGE")]
    pub(crate) until: Option<Until>,
    /// A file with 64 hexadecimal digits, the key of the pseudonyms; otherwise a random one is made in the store
    #[arg(long, value_name = "FILE", env = "MODIOLUS_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// Index the files and keep the slices of the plane
    Filter,
    /// Everything
    Infer,
}

#[derive(Args)]
#[command(
    after_help = "Example: modiolus phantom --patients 3 --files 60 --output scans --truth truth --seed 1"
)]
pub(crate) struct Phantom {
    /// How many patients
    #[arg(long, value_name = "N")]
    pub(crate) patients: usize,
    /// About how many files each
    #[arg(long, value_name = "M")]
    pub(crate) files: usize,
    /// Where the patients' folders go
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// The same seed makes the same bytes
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub(crate) seed: u64,
    /// Where the pictures with their true masks go
    #[arg(long, value_name = "DIR")]
    pub(crate) truth: Option<PathBuf>,
    /// Print what was made as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(
    after_help = "Example: modiolus train --images images --masks masks --output model.safetensors --epochs 30\n\n\
    Pictures and masks pair by name: NAME.png with NAME.png, NAME_mask.png or a labelme NAME.json,\n\
    and PATIENT/STEM with PATIENT_STEM.\n\
    A patient is the part of NAME before the first '_' (or the folder), unless --group-by says otherwise.\n\
    Curves and metrics are written beside MODEL_FILE."
)]
pub(crate) struct Train {
    /// Pictures (PNG)
    #[arg(long, value_name = "DIR")]
    pub(crate) images: PathBuf,
    /// Their masks
    #[arg(long, value_name = "DIR")]
    pub(crate) masks: PathBuf,
    /// The model file to write (safetensors)
    #[arg(long, value_name = "MODEL_FILE")]
    pub(crate) output: PathBuf,
    /// Start from this model instead of from nothing: a file, a version, "base" for the model that ships, or "current" for the
    /// store's current one, else the base model
    #[arg(long, value_name = "MODEL_FILE")]
    pub(crate) base: Option<String>,
    /// A plan (JSON), or the name of a built-in one: default, one-level-unet
    #[arg(long, value_name = "PLAN.json")]
    pub(crate) plan: Option<String>,
    /// How many epochs, instead of the plan's
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u32>,
    /// A regular expression whose first group (or whole match) in NAME is the patient
    #[arg(long, value_name = "REGEX")]
    pub(crate) group_by: Option<String>,
    /// Put the candidate into this store, and make it current if it is better than the current model
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Print the epochs as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus predict images --output masks --model model.safetensors")]
pub(crate) struct Predict {
    /// A picture (PNG), a DICOM file, or a folder of them
    #[arg(value_name = "IMAGES")]
    pub(crate) images: PathBuf,
    /// Where the masks go, with the names and sizes of the pictures
    #[arg(long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// The model file or version; otherwise the store's current model, else the base model
    #[arg(long, value_name = "MODEL_FILE")]
    pub(crate) model: Option<String>,
    /// The store whose current model is used
    #[arg(long, value_name = "DIR", default_value = ".modiolus")]
    pub(crate) store: PathBuf,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(
    after_help = "Example: modiolus evaluate --truth truth/masks --masks result/masks --spacing-mm 0.2\n\n\
    Masks pair by name; PATIENT/STEM and PATIENT_STEM are the same.\n\
    Both empty: IoU, Dice, precision and recall are 1, distances 0. One empty: overlaps are 0, distances undefined\n\
    and left out of their mean."
)]
pub(crate) struct Evaluate {
    /// True masks: NAME.png, NAME_mask.png or labelme NAME.json
    #[arg(long, value_name = "DIR")]
    pub(crate) truth: PathBuf,
    /// Masks to judge: NAME.png or NAME_mask.png
    #[arg(long, value_name = "DIR")]
    pub(crate) masks: PathBuf,
    /// Side of a pixel in mm: distances are then in mm instead of pixels
    #[arg(long, value_name = "MM")]
    pub(crate) spacing_mm: Option<f64>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus serve --store result/.modiolus\n         \
    modiolus serve --listen 0.0.0.0:8080 --origin https://review.example.org --proxy 10.0.0.5\n\n\
    On 127.0.0.1 nobody is asked who they are, until the store has an account (`modiolus users add`) or --accounts is given. Other\n\
    machines are served only with accounts, and a browser keeps their cookies only over https: put a proxy with a certificate in\n\
    front, which passes on the header Host. With --proxy-header people who have logged in with the proxy need no account.\n\n\
    What is uploaded is deleted when its run is done; what is kept is de-identified. One program at a time works in a store.")]
pub(crate) struct Serve {
    /// The store: the output of a run or its .modiolus; a new one is made
    #[arg(long, value_name = "DIR", default_value = ".modiolus")]
    pub(crate) store: PathBuf,
    /// The address and port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Start a training by itself when so many slices have new masks; otherwise only people start one
    #[arg(long, value_name = "MASKS")]
    pub(crate) retrain_after: Option<NonZeroUsize>,
    /// Ask people to log in, even while the store has no account yet
    #[arg(long)]
    pub(crate) accounts: bool,
    /// Where people open the page, as https://review.example.org; requests for another name are refused
    #[arg(long, value_name = "URL")]
    pub(crate) origin: Option<Origin>,
    /// A reverse proxy, or a network of them: believed when it says for which address (X-Forwarded-For) and whom it asks
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy: Vec<Network>,
    /// The header in which a proxy names who has logged in with it, as X-Forwarded-User
    #[arg(long, value_name = "HEADER", requires = "proxy")]
    pub(crate) proxy_header: Option<HeaderName>,
    /// What somebody may do whom a proxy names and who has no account: viewer, annotator or operator
    #[arg(long, value_name = "ROLE", default_value = "viewer", requires = "proxy_header")]
    pub(crate) proxy_role: Role,
}

#[derive(Args)]
#[command(after_help = "Example: modiolus users add ada --role operator --store result/.modiolus\n\n\
    A viewer looks, an annotator says what is on slices, an operator starts runs and trainings and chooses the model.")]
pub(crate) struct Users {
    #[command(subcommand)]
    pub(crate) action: UsersAction,
    /// The store
    #[arg(long, value_name = "DIR", default_value = ".modiolus", global = true)]
    pub(crate) store: PathBuf,
    /// The store of the cluster that the configuration names, instead of a folder
    #[arg(long, global = true)]
    pub(crate) cluster: bool,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Subcommand)]
pub(crate) enum UsersAction {
    /// Make an account; prints a link, good once and for 24 hours, where the password is set
    #[command(after_help = "Example: modiolus users add ada --role operator\n\n\
        Open the link on the review page, as http://127.0.0.1:8080/link/ada/...")]
    Add {
        /// The login name: letters, digits, '-', '_', '.' and '@'
        #[arg(value_name = "NAME")]
        name: AccountName,
        /// viewer, annotator or operator
        #[arg(long, value_name = "ROLE", default_value = "viewer")]
        role: Role,
    },
    /// All accounts
    #[command(after_help = "Example: modiolus users list")]
    List,
    /// Remove an account; whoever is logged in with it is logged out
    #[command(after_help = "Example: modiolus users remove ada")]
    Remove {
        /// The login name
        #[arg(value_name = "NAME")]
        name: AccountName,
    },
    /// Change what somebody may do
    #[command(after_help = "Example: modiolus users role ada annotator")]
    Role {
        /// The login name
        #[arg(value_name = "NAME")]
        name: AccountName,
        /// viewer, annotator or operator
        #[arg(value_name = "ROLE")]
        role: Role,
    },
    /// Print a new link for setting a password, such as for one that is forgotten; links made before are good for nothing
    #[command(after_help = "Example: modiolus users link ada")]
    Link {
        /// The login name
        #[arg(value_name = "NAME")]
        name: AccountName,
    },
}

#[derive(Args)]
#[command(after_help = "Example: modiolus models list --store result/.modiolus")]
pub(crate) struct Models {
    #[command(subcommand)]
    pub(crate) action: ModelsAction,
    /// The store
    #[arg(long, value_name = "DIR", default_value = ".modiolus", global = true)]
    pub(crate) store: PathBuf,
    /// The store of the cluster that the configuration names, instead of a folder
    #[arg(long, global = true)]
    pub(crate) cluster: bool,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Subcommand)]
pub(crate) enum ModelsAction {
    /// All versions, the current one marked
    #[command(after_help = "Example: modiolus models list --store result/.modiolus")]
    List,
    /// One version: its plan, where it comes from, its gate
    #[command(after_help = "Example: modiolus models show m-0123456789ab")]
    Show {
        /// The version, or "current"
        #[arg(id = "wanted", value_name = "VERSION")]
        version: String,
    },
    /// Make a version (or a model file) current by hand
    #[command(
        after_help = "Example: modiolus models promote m-0123456789ab\n         modiolus models promote model.safetensors"
    )]
    Promote {
        /// The version, or a model file to take into the store first
        #[arg(value_name = "VERSION_OR_FILE")]
        model: String,
    },
    /// Go back to the model that was current before
    #[command(after_help = "Example: modiolus models rollback")]
    Rollback {
        /// Go back to this one instead of the last
        #[arg(id = "wanted", value_name = "VERSION")]
        version: Option<ModelVersion>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_names_of_options_do_not_clash() {
        Arguments::command().debug_assert();
    }
}
