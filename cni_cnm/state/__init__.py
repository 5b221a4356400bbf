"""Records, the locks that guard them, and the epoch that voids them.

store         the contract: records by kind and name, and locks by key
files         the store that is built in: one JSON file a record
small_files   reading and replacing one small file
lock          locks by key, and the loop that waits for one
epoch         one run of the host: what a reboot ends
"""
