"""The embedded stack: real servers, a shop, its users and Aviary itself on one machine.

    debian.py    Prometheus and Alertmanager from Debian's packages, unpacked
    npm.py       programs of npm packages; unleash and its postgres.py
    process.py   children that never outlive their parent; records.py ends what is left
    parts.py     each part as a child process; configs.py and catalog.yaml are what they read
    stack.py     all of them together
    shop.py      one version of one service; load.py its users, tally.py what they saw
    deployed.py  what the deployer has put up; instances.py ends it when the stack ends
    catalogs.py  the catalog, with what only the stack knows
    own.py       the stack with services of one's own in place of the shop
    pipeline.py  the deploy events

Here belongs what sets parts up, feeds them and ends them. What a person sees of it does not
(`aviary.cli`). Needs the packages of the extra `local`.
"""
