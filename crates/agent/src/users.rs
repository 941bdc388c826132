//! Users of the machine, read from its own files: a static executable has no name service.

use nullspace_agent::user_files;

/// Who a process runs as.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Groups beside `gid`.
    pub groups: Vec<u32>,
}

/// Finds a user by name or number, or says why not. A number needs no entry; its group is then the same number. Nor does
/// root: a machine that lost its users can be repaired.
pub fn find(user: &str) -> Result<User, String> {
    let passwd = user_files::read("/etc/passwd");
    let group = user_files::read("/etc/group").unwrap_or_default();
    let found = look_up(user, passwd.as_deref().unwrap_or_default(), &group);
    found.ok_or_else(|| match passwd {
        Ok(_) => format!("there is no user `{user}` in the machine"),
        Err(error) => {
            format!("there is no user `{user}` in the machine: its /etc/passwd cannot be read: {error}")
        }
    })
}

fn look_up(user: &str, passwd: &str, group: &str) -> Option<User> {
    let number: Option<u32> = user.parse().ok();
    let entry = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (uid, gid): (u32, u32) = (uid.parse().ok()?, gid.parse().ok()?);
        (name == user || number == Some(uid)).then(|| (name.to_owned(), uid, gid))
    });
    let Some((name, uid, gid)) = entry else {
        return number.or((user == "root").then_some(0)).map(|uid| User {
            uid,
            gid: uid,
            groups: Vec::new(),
        });
    };
    let groups = group
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (_, _, id, members) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            members
                .split(',')
                .any(|member| member == name)
                .then(|| id.parse().ok())?
        })
        .filter(|id| *id != gid)
        .collect();
    Some(User { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\nbob:x:1000:1001::/home/bob:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nbob:x:1001:bob\naudio:x:29:alice,bob\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let bob = User {
            uid: 1000,
            gid: 1001,
            groups: vec![29],
        };
        assert_eq!(look_up("bob", PASSWD, GROUP), Some(bob));
        assert_eq!(look_up("1000", PASSWD, GROUP).unwrap().gid, 1001);
        assert_eq!(
            look_up("4000", PASSWD, GROUP),
            Some(User {
                uid: 4000,
                gid: 4000,
                groups: vec![]
            })
        );
        assert_eq!(look_up("nobody-here", PASSWD, GROUP), None);
        assert_eq!(look_up("bob", "", GROUP), None);
        assert_eq!(look_up("root", "", "").unwrap().uid, 0);
    }
}
