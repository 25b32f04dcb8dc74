"""
Where events come from: RabbitMQ, or this process itself.
"""
