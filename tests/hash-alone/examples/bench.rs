//! What `soloist bench` prints.

fn main() -> std::io::Result<()> {
    soloist::bench::run(&mut std::io::stdout())
}
