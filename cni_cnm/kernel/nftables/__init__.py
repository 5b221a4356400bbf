"""nftables: libnftables for changes, nfnetlink for questions and notifications."""
