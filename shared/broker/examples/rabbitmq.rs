//! Starts a RabbitMQ with Modiolus's queues, prints its administrator's and its filter worker's addresses, and ends it when
//! standard input ends.

use std::io::{self, BufRead};
use std::process::ExitCode;

use modiolus_broker::rabbitmq::definitions::Role;
use modiolus_broker::server::Server;
use modiolus_pipeline::StageName;

fn main() -> ExitCode {
    let Some(server) = Server::own() else { return ExitCode::FAILURE };
    let vhost = server.first_vhost();
    println!("{}", vhost.address(Role::Administrator));
    println!("{}", vhost.address(Role::Worker(StageName::Filter)));
    while io::stdin().lock().read_line(&mut String::new()).is_ok_and(|length| length > 0) {}
    ExitCode::SUCCESS
}
