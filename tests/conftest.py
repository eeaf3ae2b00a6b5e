"""What all tests share. Fixtures that only some need are in the conftest of their directory."""

pytest_plugins = ["pytester", "tests.kafka_required", "tests.brokers", "tests.mesh", "tests.leaks"]
