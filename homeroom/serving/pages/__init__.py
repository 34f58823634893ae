"""The pages people see. Everything they load comes from this machine."""
