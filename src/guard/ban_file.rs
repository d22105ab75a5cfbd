//! Files of bans: plain lists, and what fail2ban and CrowdSec export.
