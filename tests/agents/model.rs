//! The scripted model: `model.py` as a process, and what it recorded.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Model {
    process: Child,
    record: PathBuf,
    /// `http://ADDRESS:PORT`.
    pub url: String,
    /// `ADDRESS:PORT`.
    pub host: String,
}

impl Model {
    /// Starts a model for these steps. Its files go to `folder`.
    pub fn start(folder: &Path, steps: &[Value]) -> Self {
        let (script, record) = (folder.join("script.json"), folder.join("record"));
        std::fs::write(&script, Value::from(steps.to_vec()).to_string()).unwrap();
        std::fs::write(&record, "").unwrap();
        // Not 127.0.0.1: inside, that is the program's own interface, and clients do not use a proxy for it.
        let mut process = Command::new("python3")
            .arg("-u")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/model.py"))
            .args([&script, &record])
            .arg("127.0.0.2")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("model.err")).unwrap())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let host = format!("127.0.0.2:{}", port.trim());
        Self {
            process,
            record,
            url: format!("http://{host}"),
            host,
        }
    }

    /// The results of the tools, in the order of the steps.
    pub fn results(&self) -> Vec<String> {
        std::fs::read_to_string(&self.record)
            .unwrap()
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .filter_map(|v| Some(v.get("result")?.as_str()?.to_owned()))
            .collect()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
