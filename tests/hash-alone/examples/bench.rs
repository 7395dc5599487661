//! What `soloist bench` prints.

fn main() -> std::io::Result<()> {
    soloist::bench::run(None, &mut std::io::stdout())
}
