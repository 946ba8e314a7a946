//! `[[profile]]`, of scripts.

use super::*;

impl Builder<'_> {
    pub(super) fn scripts(&mut self) {
        let model = self.model;
        for (n, script) in model.scripts.iter().enumerate() {
            for (e, end) in script.ends.iter().enumerate() {
                match end {
                    End::Kernel(kernel) => {
                        if let Some(name) = self.profile(script, kernel) {
                            self.profiles.insert((n, e), name);
                        }
                    }
                    End::San(said) => match self.disk_of(&said.value, said.id, None) {
                        Ok(disk) => self.ledger.mapped(said.id, format!("[[disk]] {disk}")),
                        Err(why) => self.ledger.lost(said.id, why),
                    },
                    End::Local(id) => self.ledger.implied(*id, "the local disk is in Bootyard's script and menu"),
                    End::Chain(said) => {
                        let there = !self.asked.scripts(leaf(&said.value)).is_empty();
                        if there {
                            self.ledger.implied(said.id, "that script is among the files");
                        } else if is_ipxe(&said.value) {
                            self.ledger.implied(said.id, "each machine is given iPXE for its architecture");
                        } else {
                            let what = format!("{} is not among the files; import it, too", said.value);
                            self.ledger.lost(said.id, what);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn profile(&mut self, script: &Script, kernel: &Kernel) -> Option<Name> {
        let path = match media_path(&kernel.kernel) {
            Ok(path) => path,
            Err(why) => {
                self.ledger.lost(kernel.id, why);
                kernel.initrds.iter().for_each(|i| self.ledger.lost(i.id, "its kernel is lost"));
                return None;
            }
        };
        let mut ids = vec![kernel.id];
        let mut initrds = Vec::new();
        for said in &kernel.initrds {
            match media_path(&said.value) {
                Ok(path) => {
                    self.need(Path::new("media").join(&path), &said.value);
                    initrds.push(path);
                    ids.push(said.id);
                }
                Err(why) => self.ledger.lost(said.id, why),
            }
        }
        // Bootyard writes the initrds' names itself.
        let leaves: Vec<String> =
            initrds.iter().filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect();
        let named = |arg: &str| arg.strip_prefix("initrd=").is_some_and(|n| leaves.iter().any(|l| l == n));
        let args = kernel.args.split_whitespace().filter(|a| !named(a)).collect::<Vec<_>>().join(" ");
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stem = |text: &str| text.rsplit_once('.').map_or(text.to_owned(), |(stem, _)| stem.to_owned());
        let folder = path.parent().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned());
        let chosen = kernel.label.as_deref().and_then(name).or_else(|| {
            if says_nothing(&stem(&file)) || says_nothing(&file) {
                folder.as_deref().and_then(name).or_else(|| name(&stem(&script.file)))
            } else {
                name(&stem(&file)).or_else(|| name(&stem(&script.file)))
            }
        });
        let same = |p: &Profile| p.kernel == path && p.initrds == initrds && p.args == args;
        if let Some(there) = self.lab.profiles.iter().find(|p| same(p)) {
            let there = there.name.clone();
            ids.into_iter().for_each(|id| self.ledger.mapped(id, format!("[[profile]] {there}")));
            return Some(there);
        }
        // A name alone says nothing: another installer of the same name would erase the same disk.
        if let Some(there) = self.there.profiles.iter().find(|p| same(p)) {
            let there = there.name.clone();
            ids.into_iter().for_each(|id| self.ledger.mapped(id, format!("[[profile]] {there}, which the lab has")));
            return Some(there);
        }
        let Some(chosen) = chosen.and_then(|wanted| self.unique("profile", wanted)) else {
            ids.into_iter().for_each(|id| self.ledger.lost(id, "it makes no name of a profile that is free"));
            return None;
        };
        self.need(Path::new("media").join(&path), &kernel.kernel);
        ids.iter().for_each(|id| self.ledger.mapped(*id, format!("[[profile]] {chosen}")));
        self.lab.profiles.push(Profile {
            name: chosen.clone(),
            kernel: path,
            initrds,
            args,
            answers: None,
            kind: None,
            arch: Vec::new(),
            hypervisor: None,
            hypervisor_efi: None,
            hypervisor_args: String::new(),
            iscsi_args: None,
        });
        self.ids.profiles.push(ids);
        Some(chosen)
    }
}
