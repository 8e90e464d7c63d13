//! `modiolus users`: who may log in to the review page.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use modiolus_console::accounts::{Accounts, Invitation};
use modiolus_console::clock::Clock;
use modiolus_store::{FolderStore, ObjectStore};
use serde_json::json;

use crate::arguments::{Users, UsersAction};
use crate::models::store_folder;
use crate::output::{self, Table};
use crate::terminal;

/// Makes, lists, changes and removes accounts. The review page may run meanwhile: it reads accounts again after some seconds.
pub(crate) fn users(options: &Users) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no threads")?;
    runtime.block_on(act(options, &Accounts::new(store(options)?, Clock::system())))
}

fn store(options: &Users) -> Result<Arc<dyn ObjectStore>> {
    if options.cluster {
        return Ok(options.at.configuration()?.open_store()?);
    }
    let folder = store_folder(&options.store);
    // The first account may be there before the first run.
    if !folder.is_dir() && !matches!(options.action, UsersAction::Add { .. }) {
        bail!("{} is no store: give a run's output or its .modiolus with --store", options.store.display());
    }
    Ok(Arc::new(FolderStore::new(folder)?.durable()))
}

async fn act(options: &Users, accounts: &Accounts) -> Result<()> {
    match &options.action {
        UsersAction::Add { name, role } => invited(options, &accounts.add(name.clone(), *role).await?),
        UsersAction::Link { name } => invited(options, &accounts.renew_link(name.clone()).await?),
        UsersAction::List => list(options, accounts).await,
        UsersAction::Remove { name } => {
            accounts.remove(name).await?;
            done(options, json!({ "name": name, "removed": true }), &format!("{name} is removed"))
        }
        UsersAction::Role { name, role } => {
            accounts.set_role(name, *role).await?;
            done(options, json!({ "name": name, "role": role }), &format!("{name} is {}", role.name()))
        }
    }
}

fn invited(options: &Users, invitation: &Invitation) -> Result<()> {
    if options.json {
        return output::json(invitation);
    }
    output::line(&invitation.link)?;
    terminal::say(&format!(
        "{} sets a password there, on the review page: as http://127.0.0.1:8080{} \n\
         It works once, for 24 hours. Whoever has it gets in: give it to nobody else.",
        invitation.name,
        format_args!("/link/{}/...", invitation.name),
    ));
    Ok(())
}

fn done(options: &Users, said: serde_json::Value, text: &str) -> Result<()> {
    if options.json { output::json(&said) } else { output::line(text) }
}

async fn list(options: &Users, accounts: &Accounts) -> Result<()> {
    let all = accounts.list().await?;
    if options.json {
        return output::json(&all);
    }
    if all.is_empty() {
        return output::line(
            "no accounts yet: nobody is asked who they are, and only this machine is served",
        );
    }
    let mut table = Table::new(&["name", "role", "password", "link"]);
    for one in all {
        table.row([
            one.name.to_string(),
            one.role.name().to_owned(),
            if one.has_password { "set" } else { "not yet" }.to_owned(),
            if one.link_until.is_some() { "waits" } else { "-" }.to_owned(),
        ]);
    }
    table.print()
}
